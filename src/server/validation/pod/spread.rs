//! How evenly the pods of a kind are spread over the cluster.

use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::super::{POSITIVE, labels, optional_one_of};
use super::affinity;
use crate::api::field::{Error, Errors, Path};

const ACTIONS: &[&str] = &["DoNotSchedule", "ScheduleAnyway"];

pub fn constraints(errors: &mut Errors, path: &Path, constraints: &[TopologySpreadConstraint]) {
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
        let keys = constraint.match_label_keys.as_deref().unwrap_or_default();
        affinity::label_keys(errors, &path, keys, &[], constraint.label_selector.as_ref());
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
