//! Paths that are no resources: version, health, metrics, discovery.

use http::request::Parts;
use http::{Method, Response};
use serde_json::json;

use super::body::Body;
use super::negotiate::Format;
use super::route::RequestInfo;
use super::{ApiServer, door, negotiate, openid, respond};
use crate::api::status::Result;
use crate::server::pipeline::query::Query;
use crate::server::{discovery, openapi};

impl ApiServer {
    pub(super) async fn non_resource(
        &self,
        info: &RequestInfo,
        query: &Query,
        request: &Parts,
        format: Format,
    ) -> Result<Response<Body>> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Ok(door::not_allowed(&["GET", "HEAD"], format));
        }
        let headers = &request.headers;
        let path = info.path.as_str();
        if let Some(response) = self.inner.health.respond(path, query) {
            return Ok(response);
        }
        if let Some(response) = discovery::respond(path, query, request)? {
            return Ok(response);
        }
        if let Some(response) = self.inner.openapi.respond(path, query, headers).await? {
            return Ok(response);
        }
        if let Some(response) = self.inner.openid.as_ref().and_then(|openid| openid.respond(path)) {
            return Ok(response);
        }
        match path {
            "/metrics" => self.inner.metrics.respond(headers),
            "/metrics/resources" => self.inner.metrics.respond_resources(headers),
            "/metrics/slis" => self.inner.health.metrics(headers),
            "/version" | "/version/" => respond::value(200, &version(), negotiate::accept(headers, query)?.format),
            // For people, whatever they accept.
            "" | "/" | "/index.html" => respond::value(200, &json!({"paths": self.paths()}), Format::PrettyJson),
            _ => Ok(respond::page_not_found()),
        }
    }

    /// Every path that is not of a resource.
    fn paths(&self) -> Vec<String> {
        let mut paths = discovery::paths();
        paths.extend(self.inner.health.paths());
        if self.inner.openid.is_some() {
            paths.extend([openid::CONFIGURATION, openid::KEYS].map(str::to_owned));
        }
        paths.extend(
            [
                "/metrics",
                "/metrics/resources",
                "/metrics/slis",
                "/openapi/v2",
                "/openapi/v3",
                "/openapi/v3/",
                "/version",
            ]
            .map(str::to_owned),
        );
        paths.sort();
        paths
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
        "gitVersion": openapi::VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": platform,
    })
}
