//! How evenly the pods of a kind are spread over the cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::super::{POSITIVE, labels, optional_one_of};
use crate::api::field::{Error, Errors, Path};

const ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];

pub fn constraints(errors: &mut Errors, path: &Path, constraints: &[TopologySpreadConstraint], is_pod: bool) {
    for (at, constraint) in constraints.iter().enumerate() {
        let path = path.index(at);
        if constraint.max_skew <= 0 {
            errors.push(Error::invalid(&path.child("maxSkew"), constraint.max_skew, POSITIVE));
        }
        if constraint.topology_key.is_empty() {
            errors.push(Error::required(&path.child("topologyKey"), "can not be empty"));
        }
        let action = constraint.when_unsatisfiable.as_str();
        if !ACTIONS.contains(&action) {
            errors.push(Error::not_supported(&path.child("whenUnsatisfiable"), action, ACTIONS));
        }
        let same = |other: &TopologySpreadConstraint| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        };
        // Upstream tells of the first of two.
        if constraints[at + 1..].iter().any(same) {
            let value = format!("{{{}, {action}}}", constraint.topology_key);
            errors.push(Error::duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), value));
        }
        min_domains(errors, &path.child("minDomains"), constraint);
        let policies = ["Honor", "Ignore"];
        optional_one_of(errors, &path.child("nodeAffinityPolicy"), &constraint.node_affinity_policy, &policies);
        optional_one_of(errors, &path.child("nodeTaintsPolicy"), &constraint.node_taints_policy, &policies);
        label_keys(errors, &path.child("matchLabelKeys"), constraint, is_pod);
        labels::selector(errors, &path.child("labelSelector"), constraint.label_selector.as_ref());
    }
}

fn min_domains(errors: &mut Errors, path: &Path, constraint: &TopologySpreadConstraint) {
    let Some(domains) = constraint.min_domains else { return };
    if domains <= 0 {
        errors.push(Error::invalid(path, domains, POSITIVE));
    }
    let action = constraint.when_unsatisfiable.as_str();
    if action != "DoNotSchedule" {
        let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        errors.push(Error::invalid(path, domains, detail));
    }
}

/// Keys whose values are taken from the pod itself. A pod's selector holds what they gave already, a template's does not.
fn label_keys(errors: &mut Errors, path: &Path, constraint: &TopologySpreadConstraint, is_pod: bool) {
    let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
    if keys.is_empty() {
        return;
    }
    let Some(selector) = &constraint.label_selector else {
        errors.push(Error::forbidden(path, "must not be specified when labelSelector is not set"));
        return;
    };
    let expressions = selector.match_expressions.iter().flatten().map(|expression| &expression.key);
    let selected: Vec<_> = selector.match_labels.iter().flat_map(BTreeMap::keys).chain(expressions).collect();
    for (at, key) in keys.iter().enumerate() {
        labels::label_name(errors, &path.index(at), key);
        let allowed = usize::from(is_pod);
        if selected.iter().filter(|selected| **selected == key).count() > allowed {
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(Error::invalid(&path.index(at), key.as_str(), detail));
        }
    }
}
