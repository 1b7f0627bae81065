//! Aggregated discovery (KEP-3352): everything in two documents, one for `/api`, one for `/apis`.

use http::HeaderMap;
use serde_json::{Value, json};

use super::{Group, groups, kinds_of};
use crate::server::http::negotiate;
use crate::server::strategy::{Kind, Meta, Subresource};

const MEDIA: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Whether the client understands the aggregated form and prefers it.
pub fn wanted(headers: &HeaderMap) -> bool {
    negotiate::ranges(headers).iter().any(|(media, parameters)| {
        let is = |name: &str, value: &str| parameters.iter().any(|(k, v)| k == name && v == value);
        media == "application/json"
            && is("g", "apidiscovery.k8s.io")
            && is("v", "v2")
            && is("as", "APIGroupDiscoveryList")
    })
}

/// The document and its media type.
pub fn document(core: bool) -> (Value, &'static str) {
    let items: Vec<Value> =
        groups().iter().filter(|group| group.name.is_empty() == core).map(group_discovery).collect();
    let document = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    (document, MEDIA)
}

fn group_discovery(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = kinds_of(group.name, version).into_iter().map(resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = match group.name {
        "" => json!({"creationTimestamp": null}),
        name => json!({"name": name, "creationTimestamp": null}),
    };
    json!({"metadata": metadata, "versions": versions})
}

fn resource(kind: &dyn Kind) -> Value {
    let meta = kind.meta();
    let mut verbs: Vec<&str> = meta.verbs.iter().map(|verb| verb.as_str()).collect();
    verbs.sort_unstable();
    let mut document = json!({
        "resource": meta.plural,
        "responseKind": {"group": meta.group, "version": meta.version, "kind": meta.kind},
        "scope": if meta.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": meta.kind.to_lowercase(),
        "verbs": verbs,
    });
    if !meta.short_names.is_empty() {
        document["shortNames"] = json!(meta.short_names);
    }
    if !meta.categories.is_empty() {
        document["categories"] = json!(meta.categories);
    }
    let mut subresources: Vec<&Subresource> = meta.subresources.iter().collect();
    if !subresources.is_empty() {
        subresources.sort_by_key(|sub| sub.name);
        document["subresources"] = subresources.into_iter().map(|sub| subresource(meta, sub)).collect();
    }
    document
}

fn subresource(meta: &Meta, sub: &Subresource) -> Value {
    let (group, version) = sub.group_version.unwrap_or((meta.group, meta.version));
    json!({
        "subresource": sub.name,
        "responseKind": {"group": group, "version": version, "kind": sub.kind},
        "verbs": sub.verbs,
    })
}
