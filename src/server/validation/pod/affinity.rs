//! Where a pod may or would rather run: near which nodes, near which pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::{labels, named};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

pub fn affinity(errors: &mut Errors, path: &Path, affinity: &Affinity) {
    if let Some(node) = &affinity.node_affinity {
        node_affinity(errors, &path.child("nodeAffinity"), node);
    }
    if let Some(pod) = &affinity.pod_affinity {
        let path = path.child("podAffinity");
        let required = pod.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pod.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_affinity(errors, &path, required.unwrap_or_default(), preferred.unwrap_or_default());
    }
    if let Some(pod) = &affinity.pod_anti_affinity {
        let path = path.child("podAntiAffinity");
        let required = pod.required_during_scheduling_ignored_during_execution.as_deref();
        let preferred = pod.preferred_during_scheduling_ignored_during_execution.as_deref();
        pod_affinity(errors, &path, required.unwrap_or_default(), preferred.unwrap_or_default());
    }
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn node_affinity(errors: &mut Errors, path: &Path, affinity: &NodeAffinity) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        node_selector(errors, &path.child(REQUIRED), required);
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (at, term) in preferred.enumerate() {
        let path = path.child(PREFERRED).index(at);
        weight(errors, &path, term.weight);
        // Values that no label can have are let through where they are only a wish.
        node_selector_term(errors, &path.child("preference"), &term.preference, false);
    }
}

/// Nodes by their labels and names; also those that a volume can be reached from.
pub fn node_selector(errors: &mut Errors, path: &Path, selector: &NodeSelector) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.push(Error::required(&path, "must have at least one node selector term"));
    }
    for (at, term) in selector.node_selector_terms.iter().enumerate() {
        node_selector_term(errors, &path.index(at), term, true);
    }
}

fn node_selector_term(errors: &mut Errors, path: &Path, term: &NodeSelectorTerm, check_values: bool) {
    for (at, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(at);
        node_requirement(errors, &path, requirement);
        labels::label_name(errors, &path.child("key"), &requirement.key);
        for (at, value) in requirement.values.iter().flatten().enumerate().filter(|_| check_values) {
            named(errors, &path.child("values").index(at), value, names::label_value(value));
        }
    }
    for (at, requirement) in term.match_fields.iter().flatten().enumerate() {
        node_field(errors, &path.child("matchFields").index(at), requirement);
    }
}

fn node_requirement(errors: &mut Errors, path: &Path, requirement: &NodeSelectorRequirement) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(Error::required(&at, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&at, detail));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(Error::required(&at, detail));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => errors.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
}

/// Only the node's name can be selected by field.
fn node_field(errors: &mut Errors, path: &Path, requirement: &NodeSelectorRequirement) {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" | "NotIn" => {
            if values.len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.push(Error::required(&path.child("values"), detail));
            }
        }
        operator => errors.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator")),
    }
    if requirement.key != "metadata.name" {
        let detail = "not a valid field selector key";
        errors.push(Error::invalid(&path.child("key"), requirement.key.as_str(), detail));
        return;
    }
    for (at, value) in values.iter().enumerate() {
        named(errors, &path.child("values").index(at), value, names::dns1123_subdomain(value));
    }
}

fn weight(errors: &mut Errors, path: &Path, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.push(Error::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

fn pod_affinity(errors: &mut Errors, path: &Path, required: &[PodAffinityTerm], preferred: &[WeightedPodAffinityTerm]) {
    for (at, term) in required.iter().enumerate() {
        pod_term(errors, &path.child(REQUIRED).index(at), term);
    }
    for (at, term) in preferred.iter().enumerate() {
        let path = path.child(PREFERRED).index(at);
        weight(errors, &path, term.weight);
        pod_term(errors, &path.child("podAffinityTerm"), &term.pod_affinity_term);
    }
}

fn pod_term(errors: &mut Errors, path: &Path, term: &PodAffinityTerm) {
    labels::selector(errors, &path.child("labelSelector"), term.label_selector.as_ref());
    labels::selector(errors, &path.child("namespaceSelector"), term.namespace_selector.as_ref());
    for name in term.namespaces.iter().flatten() {
        named(errors, &path.child("namespace"), name, names::dns1123_label(name));
    }
    let matching = term.match_label_keys.as_deref().unwrap_or_default();
    let differing = term.mismatch_label_keys.as_deref().unwrap_or_default();
    label_keys(errors, path, matching, differing, term.label_selector.as_ref());
    if term.topology_key.is_empty() {
        errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
    }
    labels::label_name(errors, &path.child("topologyKey"), &term.topology_key);
}

/// Keys whose values are taken from the pod itself.
pub(super) fn label_keys(
    errors: &mut Errors,
    path: &Path,
    matching: &[String],
    differing: &[String],
    selector: Option<&LabelSelector>,
) {
    for (field, keys) in [("matchLabelKeys", matching), ("mismatchLabelKeys", differing)] {
        let path = path.child(field);
        match selector {
            _ if keys.is_empty() => {}
            None => errors.push(Error::forbidden(&path, "must not be specified when labelSelector is not set")),
            Some(_) => {
                for (at, key) in keys.iter().enumerate() {
                    labels::label_name(errors, &path.index(at), key);
                }
            }
        }
    }
    if let Some(selector) = selector {
        twice(errors, path, matching, selector);
    }
    for (at, key) in matching.iter().enumerate().filter(|(_, key)| differing.contains(key)) {
        let detail = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.push(Error::invalid(&path.child("matchLabelKeys").index(at), key.as_str(), detail));
    }
}

/// The selector holds what the keys gave already, so a key of the client's own is there a second time.
fn twice(errors: &mut Errors, path: &Path, keys: &[String], selector: &LabelSelector) {
    let mut seen: Vec<&String> = selector.match_labels.iter().flat_map(BTreeMap::keys).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let at = keys.iter().rposition(|key| *key == expression.key);
        if let Some(at) = at.filter(|_| seen.contains(&&expression.key)) {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(Error::invalid(&path.index(at), expression.key.as_str(), detail));
        }
        seen.push(&expression.key);
    }
}
