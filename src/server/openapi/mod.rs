//! `/openapi/v3`: an index, and a document for each group and version, made on demand from the catalog.
//!
//! Documents name every path with its verbs and their parameters, which is what clients look for before
//! they ask for server-side field validation or apply. Types are objects without described fields.

use http::Response;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::gvk::api_version;
use crate::api::status::{Failure, Result};
use crate::server::discovery::{groups, kinds_of};
use crate::server::http::body::Body;
use crate::server::http::respond;
use crate::server::strategy::{Meta, Verb};

/// Answers a path under `/openapi`; `None` for any other.
pub fn respond(path: &str) -> Result<Option<Response<Body>>> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let document = match parts.as_slice() {
        ["openapi", "v3"] => index(),
        ["openapi", "v3", "api", version] => document("", version)?,
        ["openapi", "v3", "apis", group, version] => document(group, version)?,
        _ => return Ok(None),
    };
    let text = serde_json::to_vec(&document).map_err(Failure::internal)?;
    Ok(Some(respond::typed(200, "application/json", text)))
}

/// `api/v1`, `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    let prefix = if group.is_empty() { "api" } else { "apis" };
    format!("{prefix}/{}", api_version(group, version))
}

/// Every document with a hash that changes when orch does.
fn index() -> Value {
    let mut paths = Map::new();
    for group in groups() {
        for version in &group.versions {
            let root = root(group.name, version);
            let digest = Sha256::digest(format!("{root} {}", env!("CARGO_PKG_VERSION")));
            let hash: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
            let url = format!("/openapi/v3/{root}?hash={hash}");
            paths.insert(root, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn document(group: &str, version: &str) -> Result<Value> {
    let kinds = kinds_of(group, version);
    if kinds.is_empty() {
        return Err(Failure::no_route());
    }
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for kind in kinds {
        let meta = kind.meta();
        schemas.insert(schema_name(meta), schema(meta));
        describe(meta, &mut paths);
    }
    Ok(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0+orch"},
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

fn gvk(meta: &Meta) -> Value {
    json!({"group": meta.group, "version": meta.version, "kind": meta.kind})
}

fn schema_name(meta: &Meta) -> String {
    let group = if meta.group.is_empty() { "core" } else { meta.group.split('.').next().unwrap_or_default() };
    format!("io.k8s.api.{group}.{}.{}", meta.version, meta.kind)
}

fn schema(meta: &Meta) -> Value {
    json!({
        "type": "object",
        "x-kubernetes-group-version-kind": [gvk(meta)],
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// The collection, the object and its subresources.
fn describe(meta: &Meta, paths: &mut Map<String, Value>) {
    let root = root(meta.group, meta.version);
    let collection = match meta.namespaced {
        true => format!("/{root}/namespaces/{{namespace}}/{}", meta.plural),
        false => format!("/{root}/{}", meta.plural),
    };
    let object = format!("{collection}/{{name}}");
    let has = |verb| meta.verbs.contains(&verb);
    let mut operations = Map::new();
    for (verb, method, action) in [
        (Verb::List, "get", "list"),
        (Verb::Create, "post", "post"),
        (Verb::DeleteCollection, "delete", "deletecollection"),
    ] {
        if has(verb) {
            operations.insert(method.to_owned(), operation(meta, action));
        }
    }
    if !operations.is_empty() {
        paths.insert(collection, operations.into());
    }
    let mut operations = Map::new();
    for (verb, method) in [(Verb::Get, "get"), (Verb::Update, "put"), (Verb::Patch, "patch"), (Verb::Delete, "delete")]
    {
        if has(verb) {
            operations.insert(method.to_owned(), operation(meta, method));
        }
    }
    if !operations.is_empty() {
        paths.insert(object.clone(), operations.into());
    }
    for sub in meta.subresources {
        let mut operations = Map::new();
        for verb in sub.verbs {
            let method = match *verb {
                "create" => "post",
                "update" => "put",
                other => other,
            };
            operations.insert(method.to_owned(), operation(meta, method));
        }
        paths.insert(format!("{object}/{}", sub.name), operations.into());
    }
}

fn operation(meta: &Meta, action: &str) -> Value {
    let names: &[&str] = match action {
        "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
        "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
        "delete" => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
        "list" => {
            &["allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion", "watch"]
        }
        _ => &[],
    };
    let parameter = |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let reference = json!({"$ref": format!("#/components/schemas/{}", schema_name(meta))});
    json!({
        "parameters": names.iter().map(parameter).collect::<Vec<_>>(),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": reference}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(meta),
    })
}
