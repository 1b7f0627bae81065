//! Aggregated discovery (KEP-3352): everything in two documents, one for `/api`, one for `/apis`.

use http::HeaderMap;
use serde_json::{Value, json};

use super::{Group, groups, kinds_of};
use crate::api::gvk::api_version;
use crate::server::http::negotiate;
use crate::server::strategy::{Kind, Meta, Subresource};

/// The version of the aggregated form; both say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    V2,
    V2Beta1,
}

impl Form {
    pub fn media(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        }
    }

    /// The core group, or all others.
    pub fn document(self, core: bool) -> Value {
        let version = if self == Self::V2 { "v2" } else { "v2beta1" };
        let items: Vec<Value> =
            groups().iter().filter(|group| group.name.is_empty() == core).map(group_discovery).collect();
        json!({
            "kind": "APIGroupDiscoveryList",
            "apiVersion": api_version("apidiscovery.k8s.io", version),
            "metadata": {},
            "items": items,
        })
    }
}

/// The aggregated form that the client wants most; `None` where it wants the old documents more.
pub fn wanted(headers: &HeaderMap) -> Option<Form> {
    let ranges = negotiate::ranges(headers);
    let json = ranges.iter().filter(|range| range.covers("application/json"));
    let forms = json.map(|range| match (range.get("as"), range.get("g"), range.get("v")) {
        (None, ..) => Some(None),
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => Some(Some(Form::V2)),
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => Some(Some(Form::V2Beta1)),
        _ => None,
    });
    forms.flatten().next().flatten()
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
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_stands_first_is_given() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        for (given, expected) in [
            (format!("{v2},{beta},application/json"), Some(Form::V2)),
            (format!("{beta},application/json"), Some(Form::V2Beta1)),
            (format!("{v2};profile=nopeer,application/json"), Some(Form::V2)),
            (format!("application/json,{v2}"), None),
            (format!("{v2};q=0.5,application/json"), None),
            ("*/*".to_owned(), None),
            ("application/vnd.kubernetes.protobuf".to_owned(), None),
        ] {
            let headers = HeaderMap::from_iter([(http::header::ACCEPT, given.parse().unwrap())]);
            assert_eq!(wanted(&headers), expected, "{given}");
        }
    }
}
