//! The schemas and levels that every cluster has and nobody may change: how they must be.

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{json, semantic};

const DEFAULTS: &str = include_str!("../../../../manifests/flowcontrol.yaml");
const NAMES: [&str; 2] = ["exempt", "catch-all"];

/// Kind, name and spec of each.
static FIXED: LazyLock<Vec<(String, String, Value)>> = LazyLock::new(|| {
    let all = DEFAULTS.split("\n---\n").filter_map(|text| serde_yaml_ng::from_str::<Value>(text).ok());
    let parts = all.filter_map(|object| {
        let name = object["metadata"]["name"].as_str().filter(|name| NAMES.contains(name))?;
        Some((object["kind"].as_str()?.to_owned(), name.to_owned(), object["spec"].clone()))
    });
    parts.collect()
});

/// Whether the spec of a mandatory object is the fixed one. `free` may differ.
pub fn check<T: Serialize>(errors: &mut Errors, kind: &str, name: &str, spec: &T, free: Option<&str>) {
    let Some((.., fixed)) = FIXED.iter().find(|(of, named, _)| of == kind && named == name) else { return };
    let mut have = json(spec);
    if let (Some(free), Some(fields)) = (free, have.as_object_mut()) {
        fields.insert(free.to_owned(), fixed[free].clone());
    }
    if !semantic::same(&have, fixed) {
        let but = free.map(|free| format!(" except the 'spec.{free}' field")).unwrap_or_default();
        let detail = format!("spec of '{name}'{but} must equal the fixed value");
        errors.push(Error::invalid(&Path::new("spec"), json(spec), detail));
    }
}
