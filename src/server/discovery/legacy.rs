//! The discovery documents that every client understands.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Group, groups, kinds_of};
use crate::api::gvk::api_version;
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::strategy::{Meta, Subresource, Verb};

/// `/api`.
pub fn core_versions(address: Option<&str>) -> Value {
    let reached = address.map(|address| json!({"clientCIDR": "0.0.0.0/0", "serverAddress": address}));
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": Vec::from_iter(reached),
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
    // Only what is kept has a form in which it is kept.
    if meta.verbs.contains(&Verb::Watch) {
        document["storageVersionHash"] = storage_version_hash(meta).into();
    }
    if !meta.short_names.is_empty() {
        document["shortNames"] = json!(meta.short_names);
    }
    if !meta.categories.is_empty() {
        document["categories"] = json!(meta.categories);
    }
    document
}

/// Upstream's hash of the group, version and kind in which objects are stored.
fn storage_version_hash(meta: &Meta) -> String {
    let stored = meta.stored_as.and_then(|(group, plural)| {
        let mut kinds = catalog().kinds().map(|kind| kind.meta());
        kinds.find(|meta| meta.group == group && meta.plural == plural && meta.stored_as.is_none())
    });
    let Meta { group, version, kind, .. } = stored.unwrap_or(meta);
    STANDARD.encode(&Sha256::digest(format!("{group}/{version}/{kind}"))[..8])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_version_hashes_are_upstreams() {
        for (group, version, kind, expected) in [
            ("", "v1", "Pod", "xPOwRZ+Yhw8="),
            ("", "v1", "ConfigMap", "qFsyl6wFWjQ="),
            ("apps", "v1", "Deployment", "8aSe+NMegvE="),
            // Kept in another version and in another group than they are shown in.
            ("autoscaling", "v1", "HorizontalPodAutoscaler", "qwQve8ut294="),
            ("events.k8s.io", "v1", "Event", "r2yiGXH7wu8="),
        ] {
            let meta = catalog().find_kind(group, version, kind).unwrap().meta();
            assert_eq!(storage_version_hash(meta), expected, "{kind}");
        }
    }
}
