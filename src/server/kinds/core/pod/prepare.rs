//! What the server itself writes into a pod: its first status, selectors made from its labels, and what a status
//! leaves out of the generations that were seen.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodCondition, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::api::pod;
use crate::server::validation::pod::app_armor;

type Labels = BTreeMap<String, String>;

pub fn create(object: &mut Pod) {
    app_armor::to_fields(object);
    let qos_class = object.spec.as_ref().map(|spec| pod::qos_class(spec).to_owned());
    let mut status = PodStatus { phase: Some("Pending".to_owned()), qos_class, ..Default::default() };
    let gated = object.spec.as_ref().is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty()));
    if gated {
        status.conditions = Some(vec![waiting_at_gate()]);
    }
    object.status = Some(status);
    let labels = object.metadata.labels.clone().unwrap_or_default();
    if let Some(spec) = &mut object.spec {
        label_keys(spec, &labels);
    }
}

fn waiting_at_gate() -> PodCondition {
    PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("SchedulingGated".to_owned()),
        message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
        ..Default::default()
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` become requirements with this pod's own values, once and for all.
fn label_keys(spec: &mut PodSpec, labels: &Labels) {
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        if let Some(selector) = &mut constraint.label_selector {
            require(selector, "In", constraint.match_label_keys.as_deref(), labels);
        }
    }
    let Some(affinity) = &mut spec.affinity else { return };
    let mut apply = |term: &mut PodAffinityTerm| {
        if let Some(selector) = &mut term.label_selector {
            require(selector, "In", term.match_label_keys.as_deref(), labels);
            require(selector, "NotIn", term.mismatch_label_keys.as_deref(), labels);
        }
    };
    if let Some(near) = &mut affinity.pod_affinity {
        let preferred = near.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        preferred.for_each(|term| apply(&mut term.pod_affinity_term));
        near.required_during_scheduling_ignored_during_execution.iter_mut().flatten().for_each(&mut apply);
    }
    if let Some(far) = &mut affinity.pod_anti_affinity {
        let preferred = far.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        preferred.for_each(|term| apply(&mut term.pod_affinity_term));
        far.required_during_scheduling_ignored_during_execution.iter_mut().flatten().for_each(&mut apply);
    }
}

fn require(selector: &mut LabelSelector, operator: &str, keys: Option<&[String]>, labels: &Labels) {
    for key in keys.unwrap_or_default() {
        let Some(value) = labels.get(key) else { continue };
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

/// Through `/status`: who does not know of generations does not take back what others saw, and the class of a pod is
/// settled when it is made.
pub fn status(new: &mut Pod, old: &Pod) {
    new.spec.clone_from(&old.spec);
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    let empty = PodStatus::default();
    let old = old.status.as_ref().unwrap_or(&empty);
    let status = new.status.get_or_insert_default();
    if status.qos_class.as_deref().is_none_or(str::is_empty) {
        status.qos_class.clone_from(&old.qos_class);
    }
    if status.observed_generation.unwrap_or(0) == 0 {
        status.observed_generation = old.observed_generation;
    }
    // Types may repeat: the first of a type takes the first one's generation.
    let mut seen: BTreeMap<&str, Vec<Option<i64>>> = BTreeMap::new();
    for condition in old.conditions.iter().flatten().rev() {
        seen.entry(&condition.type_).or_default().push(condition.observed_generation);
    }
    for condition in status.conditions.iter_mut().flatten() {
        let before = seen.get_mut(condition.type_.as_str()).and_then(Vec::pop).flatten();
        if condition.observed_generation.unwrap_or(0) == 0 {
            condition.observed_generation = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_gated_pod_says_so_and_label_keys_become_selectors() {
        let object = json!({
            "metadata": {"labels": {"app": "a"}},
            "spec": {
                "containers": [], "schedulingGates": [{"name": "g"}],
                "topologySpreadConstraints": [{
                    "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": {}, "matchLabelKeys": ["app", "absent"]
                }]
            }
        });
        let mut pod: Pod = serde_json::from_value(object).unwrap();
        create(&mut pod);
        let pod = serde_json::to_value(pod).unwrap();
        assert_eq!(pod["status"]["conditions"][0]["reason"], "SchedulingGated");
        assert_eq!(
            pod["spec"]["topologySpreadConstraints"][0]["labelSelector"],
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]})
        );
    }

    #[test]
    fn generations_seen_are_not_taken_back() {
        let pod = |status: serde_json::Value| -> Pod { serde_json::from_value(json!({"status": status})).unwrap() };
        let old = pod(json!({
            "observedGeneration": 3, "qosClass": "Burstable",
            "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]
        }));
        let mut new =
            pod(json!({"conditions": [{"type": "Ready", "status": "False"}, {"type": "X", "status": "True"}]}));
        status(&mut new, &old);
        let status = new.status.unwrap();
        assert_eq!((status.observed_generation, status.qos_class.as_deref()), (Some(3), Some("Burstable")));
        let seen: Vec<_> = status.conditions.unwrap().into_iter().map(|c| c.observed_generation).collect();
        assert_eq!(seen, [Some(2), None]);
    }
}
