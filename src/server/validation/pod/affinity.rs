//! Where a pod may or would rather run: affinity and topology spread.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, PodSpec,
    WeightedPodAffinityTerm,
};

use super::super::{POSITIVE, labels, named, one_of, optional_one_of};
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
        node_selector_terms(errors, &path.child(REQUIRED), &required.node_selector_terms);
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (at, term) in preferred.enumerate() {
        let path = path.child(PREFERRED).index(at);
        weight(errors, &path, term.weight);
        node_selector_term(errors, &path.child("preference"), &term.preference);
    }
}

fn node_selector_terms(errors: &mut Errors, path: &Path, terms: &[NodeSelectorTerm]) {
    let path = path.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(Error::required(&path, "must have at least one node selector term"));
    }
    for (at, term) in terms.iter().enumerate() {
        node_selector_term(errors, &path.index(at), term);
    }
}

fn node_selector_term(errors: &mut Errors, path: &Path, term: &NodeSelectorTerm) {
    for (at, requirement) in term.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(at);
        node_requirement(errors, &path, requirement);
        labels::label_name(errors, &path.child("key"), &requirement.key);
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
    if term.topology_key.is_empty() {
        errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
        return;
    }
    labels::label_name(errors, &path.child("topologyKey"), &term.topology_key);
}

pub fn spread(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        if constraint.max_skew <= 0 {
            errors.push(Error::invalid(&path.child("maxSkew"), constraint.max_skew, POSITIVE));
        }
        if constraint.topology_key.is_empty() {
            errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
        } else {
            labels::label_name(errors, &path.child("topologyKey"), &constraint.topology_key);
        }
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        one_of(errors, &path.child("whenUnsatisfiable"), &constraint.when_unsatisfiable, &supported);
        let same = |other: &&k8s_openapi::api::core::v1::TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        if constraints[..at].iter().any(|other| same(&other)) {
            let value = format!("{{{}, {}}}", constraint.topology_key, constraint.when_unsatisfiable);
            errors.push(Error::duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), value));
        }
        if let Some(domains) = constraint.min_domains {
            if domains <= 0 {
                errors.push(Error::invalid(&path.child("minDomains"), domains, POSITIVE));
            } else if constraint.when_unsatisfiable != "DoNotSchedule" {
                let detail = format!(
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                    constraint.when_unsatisfiable
                );
                errors.push(Error::invalid(&path.child("minDomains"), domains, detail));
            }
        }
        let policies = ["Honor", "Ignore"];
        optional_one_of(errors, &path.child("nodeAffinityPolicy"), &constraint.node_affinity_policy, &policies);
        optional_one_of(errors, &path.child("nodeTaintsPolicy"), &constraint.node_taints_policy, &policies);
        labels::selector(errors, &path.child("labelSelector"), constraint.label_selector.as_ref());
    }
}
