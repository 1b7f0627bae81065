//! Labels, annotations and label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};

use super::named;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// All annotations of an object together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

pub fn label_name(errors: &mut Errors, path: &Path, name: &str) {
    named(errors, path, name, names::qualified_name(name));
}

pub fn labels(errors: &mut Errors, path: &Path, labels: Option<&BTreeMap<String, String>>) {
    for (key, value) in labels.into_iter().flatten() {
        label_name(errors, path, key);
        named(errors, path, value, names::label_value(value));
    }
}

pub fn annotations(errors: &mut Errors, path: &Path, annotations: Option<&BTreeMap<String, String>>) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        // The rule is case-insensitive for annotations.
        named(errors, path, key, names::qualified_name(&key.to_lowercase()));
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(Error::too_long(path, ANNOTATIONS_MAX));
    }
}

/// The metadata of what will be made from a template: labels and annotations only.
pub fn template_metadata(errors: &mut Errors, path: &Path, metadata: &ObjectMeta) {
    annotations(errors, &path.child("annotations"), metadata.annotations.as_ref());
    labels(errors, &path.child("labels"), metadata.labels.as_ref());
    let full = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    let set = [
        ("name", full(&metadata.name)),
        ("generateName", full(&metadata.generate_name)),
        ("namespace", full(&metadata.namespace)),
        ("selfLink", full(&metadata.self_link)),
        ("uID", full(&metadata.uid)),
        ("resourceVersion", full(&metadata.resource_version)),
        ("generation", metadata.generation.is_some_and(|generation| generation != 0)),
        ("creationTimestamp", metadata.creation_timestamp.is_some()),
        ("deletionTimestamp", metadata.deletion_timestamp.is_some()),
        ("deletionGracePeriodSeconds", metadata.deletion_grace_period_seconds.is_some()),
        ("ownerReferences", metadata.owner_references.is_some()),
        ("finalizers", metadata.finalizers.is_some()),
        ("managedFields", metadata.managed_fields.is_some()),
    ];
    for (field, _) in set.iter().filter(|(_, set)| *set) {
        errors.push(Error::forbidden(&path.child(field), "cannot be set"));
    }
}

pub fn selector(errors: &mut Errors, path: &Path, selector: Option<&LabelSelector>) {
    let Some(selector) = selector else { return };
    labels(errors, &path.child("matchLabels"), selector.match_labels.as_ref());
    for (at, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        expression(errors, &path.child("matchExpressions").index(at), requirement);
    }
}

fn expression(errors: &mut Errors, path: &Path, requirement: &LabelSelectorRequirement) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" => {
            if values.is_empty() {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(Error::required(&path.child("values"), detail));
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(Error::forbidden(&path.child("values"), detail));
            }
        }
        operator => errors.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    label_name(errors, &path.child("key"), &requirement.key);
    for (at, value) in values.iter().enumerate() {
        named(errors, &path.child("values").index(at), value, names::label_value(value));
    }
}

/// Whether a selector selects by anything at all.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::json;

    #[test]
    fn selectors_are_checked() {
        let bad = json!({
            "matchLabels": {"a": "b c"},
            "matchExpressions": [
                {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]},
                {"key": "a", "operator": "Near"}
            ]
        });
        let bad: LabelSelector = serde_json::from_value(bad).unwrap();
        let mut errors = Errors::new();
        selector(&mut errors, &Path::new("s"), Some(&bad));
        let lines = lines(&errors);
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("s.matchLabels: Invalid value: \"b c\": a valid label must be"), "{}", lines[0]);
        assert_eq!(
            lines[1..],
            [
                "s.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "s.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "s.matchExpressions[2].operator: Invalid value: \"Near\": not a valid selector operator",
            ]
        );
    }
}
