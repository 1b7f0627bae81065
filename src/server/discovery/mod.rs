//! Which groups, versions and resources there are, derived from the catalog: the old documents
//! (`/api`, `/apis`, `/apis/<group>`, `/apis/<group>/<version>`) and the aggregated ones.
//!
//! Documents are made on demand; clients keep them by their ETag.

mod aggregated;
mod legacy;

use std::collections::BTreeMap;

use http::header::{HOST, HeaderValue, VARY};
use http::request::Parts;
use http::{HeaderMap, Response};
use serde_json::Value;

use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::http::body::Body;
use crate::server::http::{cached, negotiate, respond};
use crate::server::pipeline::query::Query;
use crate::server::strategy::Kind;

/// A group with its versions, the preferred one first.
pub(crate) struct Group {
    pub name: &'static str,
    pub versions: Vec<&'static str>,
}

/// All groups in the catalog's order; the core group is among them with an empty name.
pub(crate) fn groups() -> Vec<Group> {
    let mut found: Vec<Group> = Vec::new();
    for kind in catalog().kinds() {
        let meta = kind.meta();
        match found.iter_mut().find(|group| group.name == meta.group) {
            Some(group) if group.versions.contains(&meta.version) => {}
            Some(group) => group.versions.push(meta.version),
            None => found.push(Group { name: meta.group, versions: vec![meta.version] }),
        }
    }
    for group in &mut found {
        group.versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
    }
    found
}

/// Stable versions before betas before alphas, newer before older.
fn priority(version: &str) -> (u8, u32, u32) {
    let text = version.trim_start_matches('v');
    let number = |text: &str| text.parse().unwrap_or(0);
    if let Some((major, minor)) = text.split_once("beta") {
        return (1, number(major), number(minor));
    }
    match text.split_once("alpha") {
        Some((major, minor)) => (0, number(major), number(minor)),
        None => (2, number(text), 0),
    }
}

/// The kinds of one group and version, by the names of their resources.
pub(crate) fn kinds_of(group: &str, version: &str) -> Vec<&'static dyn Kind> {
    let mut found = BTreeMap::new();
    for kind in catalog().kinds().filter(|kind| kind.meta().group == group && kind.meta().version == version) {
        found.insert(kind.meta().plural, kind);
    }
    found.into_values().collect()
}

pub fn has_group(group: &str) -> bool {
    catalog().kinds().any(|kind| kind.meta().group == group)
}

/// Every path that this answers.
pub fn paths() -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned(), "/apis/".to_owned()];
    for group in groups().iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{version}", group.name)));
    }
    paths
}

/// Answers a discovery path; `None` for any other.
pub fn respond(path: &str, query: &Query, request: &Parts) -> Result<Option<Response<Body>>> {
    let headers = &request.headers;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let document = match parts.as_slice() {
        ["api" | "apis"] => match aggregated::wanted(headers) {
            Some(form) => return tagged(&form.document(parts[0] == "api"), form.media(), headers).map(Some),
            None if parts[0] == "api" => legacy::core_versions(address(request)),
            None => legacy::group_list(),
        },
        ["apis", group] => match groups().iter().find(|found| found.name == *group) {
            Some(group) => legacy::group(group, true),
            None => return Ok(None),
        },
        ["apis", group, _] if !has_group(group) => return Ok(None),
        ["api", version] => legacy::resources("", version)?,
        ["apis", group, version] => legacy::resources(group, version)?,
        _ => return Ok(None),
    };
    let accept = negotiate::accept(headers, query)?;
    respond::value(200, &document, accept.format).map(Some)
}

/// By what name the client reached the server.
fn address(request: &Parts) -> Option<&str> {
    let named = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri.authority().map(|authority| authority.as_str()))
}

/// With a tag by which clients keep it.
fn tagged(document: &Value, media: &'static str, headers: &HeaderMap) -> Result<Response<Body>> {
    let content = serde_json::to_vec(document).map_err(Failure::internal)?;
    let hash = cached::hash(&content);
    let mut response = respond::typed(200, media, content);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(cached::tagged(response, &hash, headers))
}
