//! Paths of orch's own under `/orch/`, beside Kubernetes'. Authorized as any path that is no resource: by RBAC's
//! `nonResourceURLs`, and to nobody but administrators unless a role says so.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::api::status::Result;

/// What answers at one path.
#[async_trait]
pub trait Endpoint: Send + Sync + 'static {
    /// The answer, as JSON. Also decides which methods there are.
    async fn serve(&self, method: &Method, body: Bytes) -> Result<Value>;
}

/// The endpoints by their paths.
pub type Endpoints = HashMap<&'static str, Arc<dyn Endpoint>>;
