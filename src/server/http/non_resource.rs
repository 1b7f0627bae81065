//! Paths that are no resources: version, health, metrics, discovery.

use http::{HeaderMap, Method, Response};
use serde_json::json;

use super::body::Body;
use super::route::RequestInfo;
use super::{ApiServer, negotiate, respond};
use crate::api::status::{Failure, Result};
use crate::server::pipeline::query::Query;
use crate::server::{discovery, openapi};

impl ApiServer {
    pub(super) fn non_resource(
        &self,
        info: &RequestInfo,
        query: &Query,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Body>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Failure::method_not_allowed());
        }
        let path = info.path.as_str();
        if let Some(response) = self.inner.health.respond(path, query) {
            return Ok(response);
        }
        if let Some(response) = discovery::respond(path, headers)? {
            return Ok(response);
        }
        if let Some(response) = openapi::respond(path)? {
            return Ok(response);
        }
        if let Some(response) = self.inner.openid.as_ref().and_then(|openid| openid.respond(path)) {
            return Ok(response);
        }
        if path == "/metrics" {
            return self.inner.metrics.respond(headers);
        }
        let format = negotiate::accept(headers)?.format;
        match path.trim_end_matches('/') {
            "/version" => respond::value(200, &version(), format),
            "" => respond::value(200, &json!({"paths": discovery::paths()}), format),
            _ => Err(Failure::no_route()),
        }
    }
}

/// What `kubectl version` shows.
pub(super) fn version() -> serde_json::Value {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        other => other,
    };
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": "v1.36.0+orch",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": platform,
    })
}
