//! The discovery documents that every client understands.

use serde_json::{Value, json};

use super::{Group, groups, kinds_of};
use crate::api::gvk::api_version;
use crate::api::status::{Failure, Result};
use crate::server::strategy::{Meta, Subresource};

/// `/api`.
pub fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// `/apis`.
pub fn group_list() -> Value {
    let groups: Vec<Value> =
        groups().iter().filter(|found| !found.name.is_empty()).map(|found| group(found, false)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`, or its entry in `/apis` (without type).
pub fn group(group: &Group, typed: bool) -> Value {
    let version = |version: &&str| json!({"groupVersion": api_version(group.name, version), "version": version});
    let mut document = json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    });
    if typed {
        document["kind"] = "APIGroup".into();
        document["apiVersion"] = "v1".into();
    }
    document
}

/// `/api/v1` and `/apis/<group>/<version>`.
pub fn resources(group: &str, version: &str) -> Result<Value> {
    let kinds = kinds_of(group, version);
    if kinds.is_empty() {
        return Err(Failure::no_route());
    }
    let mut list = Vec::new();
    for kind in kinds {
        let meta = kind.meta();
        list.push(resource(meta));
        let mut subresources: Vec<&Subresource> = meta.subresources.iter().collect();
        subresources.sort_by_key(|sub| sub.name);
        list.extend(subresources.into_iter().map(|sub| subresource(meta, sub)));
    }
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": api_version(group, version), "resources": list,
    }))
}

fn resource(meta: &Meta) -> Value {
    let mut verbs: Vec<&str> = meta.verbs.iter().map(|verb| verb.as_str()).collect();
    verbs.sort_unstable();
    let mut document = json!({
        "name": meta.plural,
        "singularName": meta.kind.to_lowercase(),
        "namespaced": meta.namespaced,
        "kind": meta.kind,
        "verbs": verbs,
    });
    if !meta.short_names.is_empty() {
        document["shortNames"] = json!(meta.short_names);
    }
    if !meta.categories.is_empty() {
        document["categories"] = json!(meta.categories);
    }
    document
}

fn subresource(meta: &Meta, sub: &Subresource) -> Value {
    let mut document = json!({
        "name": format!("{}/{}", meta.plural, sub.name),
        "singularName": "",
        "namespaced": meta.namespaced,
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if let Some((group, version)) = sub.group_version {
        document["group"] = group.into();
        document["version"] = version.into();
    }
    document
}
