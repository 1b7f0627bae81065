//! Scopes: to which objects a quota applies.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodAffinityTerm, ResourceQuotaSpec, ScopedResourceSelectorRequirement,
};

use super::Counted;
use crate::api::pod::qos_class;

/// Whether every scope and every expression of the quota holds. A kind that knows nothing of a scope is not in it.
pub(super) fn holds(quota: &ResourceQuotaSpec, object: &Counted<'_>) -> bool {
    let named = quota.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".to_owned(),
        values: None,
    });
    let selected =
        quota.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten()).cloned();
    named.chain(selected).all(|wanted| match object {
        Counted::Pod(pod) => of_pod(pod, &wanted),
        Counted::Claim(claim) => of_claim(claim, &wanted),
        Counted::Service(_) | Counted::Devices(_) | Counted::Other(..) => false,
    })
}

/// What the scopes call terminating: the pod has a deadline.
pub fn ends(pod: &Pod) -> bool {
    let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
    deadline.is_some_and(|seconds| seconds >= 0)
}

fn of_pod(pod: &Pod, wanted: &ScopedResourceSelectorRequirement) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ends = ends(pod);
    match wanted.scope_name.as_str() {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => qos_class(spec) == "BestEffort",
        "NotBestEffort" => qos_class(spec) != "BestEffort",
        "PriorityClass" => {
            let class = spec.priority_class_name.as_deref().filter(|name| !name.is_empty());
            selects(wanted, &class.into_iter().collect::<Vec<_>>())
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn of_claim(claim: &PersistentVolumeClaim, wanted: &ScopedResourceSelectorRequirement) -> bool {
    if wanted.scope_name != "VolumeAttributesClass" {
        return false;
    }
    let status = claim.status.as_ref();
    let names = [
        claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.current_volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.as_deref()),
    ];
    selects(wanted, &names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>())
}

fn selects(wanted: &ScopedResourceSelectorRequirement, names: &[&str]) -> bool {
    let listed = |name: &&str| wanted.values.iter().flatten().any(|value| value == name);
    match wanted.operator.as_str() {
        "Exists" => !names.is_empty(),
        "DoesNotExist" => names.is_empty(),
        "In" => names.iter().any(listed),
        // Of several names one is enough that is not listed.
        "NotIn" => names.is_empty() || !names.iter().all(listed),
        _ => false,
    }
}

/// Whether an affinity looks at pods of other namespaces.
fn crosses_namespaces(pod: &Pod) -> bool {
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return false };
    let crosses = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty()) || term.namespace_selector.is_some()
    };
    macro_rules! terms {
        ($part:expr) => {
            $part.iter().any(|part| {
                let required = part.required_during_scheduling_ignored_during_execution.iter().flatten();
                let preferred = part.preferred_during_scheduling_ignored_during_execution.iter().flatten();
                required.chain(preferred.map(|weighted| &weighted.pod_affinity_term)).any(crosses)
            })
        };
    }
    terms!(affinity.pod_affinity) || terms!(affinity.pod_anti_affinity)
}
