//! The OpenAPI documents, made on demand from the catalog and kept compressed: `/openapi/v3` with a document for
//! each group and version, and `/openapi/v2`, which is all of them in one, as JSON or in protobuf.
//!
//! kubectl explains, validates and patches by these. Nothing is made before somebody asks.

mod components;
mod document;
mod gnostic;
mod kept;
mod merge;
mod operation;
mod parameters;
mod paths;
#[cfg(test)]
mod tests;
mod v2;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, EXPIRES, HeaderValue, LOCATION, VARY};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::api::status::{Failure, Result};
use crate::server::http::body::{self, Body};
use crate::server::http::metrics::Burst;
use crate::server::http::{cached, gzip, negotiate, respond};
use crate::server::pipeline::query::Query;
pub use document::VERSION;
use kept::{Document, Kept, Which};

const JSON: &str = "application/json";
/// Version 2 in protobuf.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// What clients still ask for. It is no media type by the standard, so it is never what they are answered.
const V2_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The documents of one API server.
pub struct OpenApi {
    kept: Kept,
}

impl OpenApi {
    /// `burst` is told of documents that are made.
    pub fn new(burst: Arc<Burst>) -> Self {
        Self { kept: Kept::new(burst) }
    }

    /// Answers a path under `/openapi`; `None` for any other.
    pub async fn respond(&self, path: &str, query: &Query, headers: &HeaderMap) -> Result<Option<Response<Body>>> {
        let Some(path) = path.strip_prefix("/openapi/") else { return Ok(None) };
        match path.trim_end_matches('/').split_once('/') {
            None if path == "v2" => self.v2(headers).await.map(Some),
            None if path.trim_end_matches('/') == "v3" => self.index(headers).await.map(Some),
            Some(("v3", root)) => self.v3(root, query.get("hash"), headers).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn index(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        let mut paths = Map::new();
        for (path, hash) in self.kept.hashes().await? {
            paths.insert(path.clone(), json!({"serverRelativeURL": address(path, hash)}));
        }
        let content = serde_json::to_vec(&json!({"paths": Value::Object(paths)})).map_err(Failure::internal)?;
        let hash = cached::hash(&content);
        Ok(cached::tagged(respond::typed(200, JSON, content), &hash, headers))
    }

    async fn v2(&self, headers: &HeaderMap) -> Result<Response<Body>> {
        let Some((media, _)) = negotiate::choose(&[JSON, V2_PROTOBUF, V2_PROTOBUF_ASKED], &negotiate::ranges(headers))
        else {
            return Ok(status(StatusCode::NOT_ACCEPTABLE));
        };
        let (which, media) = if media == JSON { (Which::V2, JSON) } else { (Which::V2Protobuf, V2_PROTOBUF) };
        send(&*self.kept.get(&which).await?, media, headers)
    }

    async fn v3(&self, path: &str, asked: &str, headers: &HeaderMap) -> Result<Response<Body>> {
        let found = document::roots().into_iter().find(|(known, _)| known == path);
        let (_, root) = found.ok_or_else(Failure::no_route)?;
        if negotiate::choose(&[JSON], &negotiate::ranges(headers)).is_none() {
            return Ok(status(StatusCode::NOT_ACCEPTABLE));
        }
        let document = self.kept.get(&Which::V3(root)).await?;
        if !asked.is_empty() && asked != document.hash {
            let mut response = status(StatusCode::MOVED_PERMANENTLY);
            let address = HeaderValue::from_str(&address(path, &document.hash)).map_err(Failure::internal)?;
            response.headers_mut().insert(LOCATION, address);
            return Ok(response);
        }
        let mut response = send(&document, JSON, headers)?;
        if !asked.is_empty() {
            // What has this hash never changes.
            let headers = response.headers_mut();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            let year = jiff::SignedDuration::from_hours(24 * 365);
            let date = (jiff::Timestamp::now() + year).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.insert(EXPIRES, HeaderValue::from_str(&date).map_err(Failure::internal)?);
        }
        Ok(response)
    }
}

/// Where a client finds a document by its hash.
fn address(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = code;
    response
}

fn send(document: &Document, media: &'static str, headers: &HeaderMap) -> Result<Response<Body>> {
    let mut response = match gzip::accepted(headers) {
        true => {
            let mut response = respond::typed(200, media, document.gzip.clone());
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        }
        false => respond::typed(200, media, gzip::decompress(&document.gzip).map_err(Failure::internal)?),
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    Ok(cached::tagged(response, &document.hash, headers))
}
