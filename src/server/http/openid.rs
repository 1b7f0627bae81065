//! OIDC discovery of ServiceAccount tokens: who issues them and with which keys, so that others can verify them
//! without asking the API server.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde_json::Value;

use super::body::Body;
use super::respond;

pub const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// Where the keys are.
pub const KEYS: &str = "/openid/v1/jwks";

/// The two documents.
#[derive(Clone)]
pub struct OpenId {
    /// Made when it is asked for: it says where the keys are, and the server's address may change.
    configuration: Arc<dyn Fn() -> Value + Send + Sync>,
    keys: Bytes,
}

impl OpenId {
    pub fn new(configuration: impl Fn() -> Value + Send + Sync + 'static, keys: &Value) -> Self {
        Self { configuration: Arc::new(configuration), keys: keys.to_string().into() }
    }

    pub(super) fn respond(&self, path: &str) -> Option<Response<Body>> {
        let mut response = match path {
            CONFIGURATION => respond::typed(200, "application/json", (self.configuration)().to_string()),
            KEYS => respond::typed(200, "application/jwk-set+json", self.keys.clone()),
            _ => return None,
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        Some(response)
    }
}
