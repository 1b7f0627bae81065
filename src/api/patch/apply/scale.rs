//! Field managers of a Scale: those of its object that set `spec.replicas`, and back.
//!
//! Who writes through `/scale` is recorded in the object itself, under the object's own path. A Scale has entries
//! only while it is being written.

use serde_json::Value;

use super::managers::{self, Managers, Owned};
use super::set::Set;
use crate::api::gvk::split_api_version;

const SCALE_VERSION: &str = "autoscaling/v1";

/// The same path in every scalable kind and in Scale.
fn replicas() -> Set {
    Set::of_fields(&["spec", "replicas"])
}

fn owns_replicas(owned: &Owned) -> bool {
    !owned.set.intersection(&replicas()).is_empty()
}

fn decode(object: &Value) -> Managers {
    managers::decode(object).unwrap_or_default()
}

/// Whether two versions are of one group: then the path means the same.
fn same_group(a: &str, b: &str) -> bool {
    let group = |version| split_api_version(version).map(|(group, _)| group.to_owned());
    group(a) == group(b)
}

/// Gives `scale` the managers of its object's replicas.
pub fn to_scale(object: &Value, scale: &mut Value) {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let mut shown = Managers::new();
    for (mut manager, owned) in decode(object) {
        if !owns_replicas(&owned) || !same_group(&owned.api_version, version) {
            continue;
        }
        if !manager.api_version.is_empty() {
            manager.api_version = SCALE_VERSION.to_owned();
        }
        shown.insert(manager, Owned { set: replicas(), api_version: SCALE_VERSION.to_owned(), time: owned.time });
    }
    managers::encode(scale, &shown);
}

/// Gives `object` the managers that its written `scale` has: who lost the replicas there loses them here.
pub fn to_object(scale: &Value, object: &mut Value) {
    let version = object["apiVersion"].as_str().unwrap_or_default().to_owned();
    let mut of_scale = decode(scale);
    let mut merged = Managers::new();
    for (manager, mut owned) in decode(object) {
        if !same_group(&owned.api_version, &version) {
            continue;
        }
        if owns_replicas(&owned) {
            let mut as_shown = manager.clone();
            if !as_shown.api_version.is_empty() {
                as_shown.api_version = SCALE_VERSION.to_owned();
            }
            if of_scale.remove(&as_shown).is_none() {
                owned.set = std::mem::take(&mut owned.set).difference(&replicas());
            }
        }
        if !owned.set.is_empty() {
            merged.insert(manager, owned);
        }
    }
    for (mut manager, owned) in of_scale {
        if !owns_replicas(&owned) {
            continue;
        }
        if !manager.api_version.is_empty() {
            manager.api_version.clone_from(&version);
        }
        merged.insert(manager, Owned { set: replicas(), api_version: version.clone(), time: owned.time });
    }
    managers::encode(object, &merged);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, operation: &str, version: &str, subresource: &str, fields: Value) -> Value {
        let mut entry = json!({"manager": manager, "operation": operation, "apiVersion": version,
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
        if !subresource.is_empty() {
            entry["subresource"] = subresource.into();
        }
        entry
    }

    fn object(entries: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"managedFields": entries}})
    }

    #[test]
    fn only_managers_of_the_replicas_are_shown() {
        let mine = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
        let parent = object(json!([
            entry("a", "Apply", "apps/v1", "", mine),
            entry("b", "Update", "apps/v1", "", json!({"f:spec": {"f:paused": {}}})),
        ]));
        let mut scale = json!({"metadata": {}});
        to_scale(&parent, &mut scale);
        let shown = json!({"f:spec": {"f:replicas": {}}});
        assert_eq!(scale["metadata"]["managedFields"], json!([entry("a", "Apply", "autoscaling/v1", "", shown)]));
        // Nothing changed: nothing changes.
        let mut same = parent.clone();
        to_object(&scale, &mut same);
        assert_eq!(same, parent);
    }

    #[test]
    fn replicas_are_taken_over() {
        let mut parent = object(json!([
            entry("a", "Apply", "apps/v1", "", json!({"f:spec": {"f:replicas": {}, "f:paused": {}}})),
            entry("c", "Update", "apps/v1", "", json!({"f:spec": {"f:replicas": {}}})),
        ]));
        let replicas = json!({"f:spec": {"f:replicas": {}}});
        let scale = json!({"metadata": {"managedFields": [
            entry("hpa", "Update", "autoscaling/v1", "scale", replicas.clone()),
            entry("idle", "Update", "autoscaling/v1", "scale", json!({"f:status": {"f:replicas": {}}})),
        ]}});
        to_object(&scale, &mut parent);
        let wanted = json!([
            entry("a", "Apply", "apps/v1", "", json!({"f:spec": {"f:paused": {}}})),
            entry("hpa", "Update", "apps/v1", "scale", replicas),
        ]);
        assert_eq!(parent["metadata"]["managedFields"], wanted);
    }
}
