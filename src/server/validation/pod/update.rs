//! What an update of a pod may change: almost nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};
use serde_json::Value;

use super::super::json;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn update(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else {
        errors.push(Error::required(&path.child("containers"), ""));
        return errors;
    };
    super::annotations(&mut errors, new);
    super::pod_spec(&mut errors, &path, new_spec);
    mirror(&mut errors, new, old);
    if images(&mut errors, &path.child("containers"), &new_spec.containers, &old_spec.containers)
        || images(
            &mut errors,
            &path.child("initContainers"),
            new_spec.init_containers.as_deref().unwrap_or_default(),
            old_spec.init_containers.as_deref().unwrap_or_default(),
        )
        || deadline(&mut errors, &path.child("activeDeadlineSeconds"), new_spec, old_spec)
    {
        return errors;
    }
    added_tolerations(&mut errors, &path.child("tolerations"), new_spec, old_spec);
    removed_gates(&mut errors, &path.child("schedulingGates"), new_spec, old_spec);
    if new_spec == old_spec {
        return errors;
    }
    let mut munged = munged(new_spec, old_spec);
    if old_spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        gated(&mut errors, &path, &mut munged, old_spec);
    }
    if munged != *old_spec {
        let detail = format!("pod updates may not change fields other than {UPDATABLE}\n{}", diff(old_spec, &munged));
        errors.push(Error::forbidden(&path, detail));
    }
    errors
}

fn mirror(errors: &mut Errors, new: &Pod, old: &Pod) {
    let key = "kubernetes.io/config.mirror";
    let of = |pod: &Pod| pod.metadata.annotations.as_ref().and_then(|found| found.get(key)).cloned();
    let path = Path::new("metadata").child("annotations").key(key);
    match (of(new), of(old)) {
        (new, Some(old)) if new.as_ref() != Some(&old) => {
            errors.push(Error::forbidden(&path, "may not remove or update mirror pod annotation"));
        }
        (Some(_), None) => errors.push(Error::forbidden(&path, "may not add mirror pod annotation")),
        _ => {}
    }
}

/// Images must stay images; whether the number of containers changed, which ends the comparison.
fn images(errors: &mut Errors, path: &Path, new: &[Container], old: &[Container]) -> bool {
    if new.len() != old.len() {
        errors.push(Error::forbidden(path, "pod updates may not add or remove containers"));
        return true;
    }
    for (at, container) in new.iter().enumerate() {
        if let Some(image) = super::untrimmed(container) {
            let detail = "must not have leading or trailing whitespace";
            errors.push(Error::invalid(&path.index(at).child("image"), image, detail));
        }
    }
    false
}

/// The deadline may be set, or shortened; whether it was wrong enough to stop.
fn deadline(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) -> bool {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.push(Error::invalid(path, new, names::inclusive_range_error(0, i32::MAX.into())));
            true
        }
        (Some(new), Some(old)) if old < new => {
            errors.push(Error::invalid(path, new, "must be less than or equal to previous value"));
            true
        }
        (None, Some(_)) => {
            errors.push(Error::invalid(path, Value::Null, "must not update from a positive integer to nil value"));
            false
        }
        _ => false,
    }
}

/// Old tolerations stay, but for how long they hold.
fn added_tolerations(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    let same = |a: &Toleration, b: &Toleration| {
        let timeless = |one: &Toleration| Toleration { toleration_seconds: None, ..one.clone() };
        timeless(a) == timeless(b)
    };
    for (at, before) in old.tolerations.iter().flatten().enumerate() {
        let kept = new.tolerations.iter().flatten().any(|after| same(after, before));
        if !kept {
            let detail = "existing toleration can not be modified except its tolerationSeconds";
            errors.push(Error::forbidden(&path.index(at), detail));
            return;
        }
    }
}

fn removed_gates(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    for (at, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        let known = old.scheduling_gates.iter().flatten().any(|before| before.name == gate.name);
        if !known {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.push(Error::forbidden(&path.index(at), detail));
        }
    }
}

/// The new spec with everything that may change put back.
fn munged(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut munged = new.clone();
    for (container, before) in munged.containers.iter_mut().zip(&old.containers) {
        container.image.clone_from(&before.image);
    }
    let inits = munged.init_containers.iter_mut().flatten().zip(old.init_containers.iter().flatten());
    for (container, before) in inits {
        container.image.clone_from(&before.image);
    }
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    munged.tolerations.clone_from(&old.tolerations);
    let was_negative = old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0);
    if was_negative && munged.termination_grace_period_seconds == Some(1) {
        munged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    munged
}

/// A pod that still waits at a gate may become pickier about its node.
fn gated(errors: &mut Errors, path: &Path, munged: &mut PodSpec, old: &PodSpec) {
    if munged.node_selector != old.node_selector {
        let empty = BTreeMap::new();
        let new_selector = munged.node_selector.as_ref().unwrap_or(&empty);
        let kept = old.node_selector.iter().flatten().all(|(key, value)| new_selector.get(key) == Some(value));
        if !kept {
            let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.push(Error::invalid(&path.child("nodeSelector"), json(new_selector), detail));
        }
        munged.node_selector.clone_from(&old.node_selector);
    }
    let before = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let after = munged.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    if before == after {
        return;
    }
    if before.as_ref().is_some_and(|before| before.required_during_scheduling_ignored_during_execution.is_some()) {
        let terms = |affinity: &Option<k8s_openapi::api::core::v1::NodeAffinity>| {
            let required = affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
            Some(required.node_selector_terms.len())
        };
        if terms(&before) != terms(&after) {
            let path = path.child("affinity").child("nodeAffinity");
            let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
            let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
            errors.push(Error::invalid(&path, json(&after), detail));
        }
    }
    match &mut munged.affinity {
        Some(affinity) => {
            affinity.node_affinity = before;
            if old.affinity.is_none() && *affinity == Default::default() {
                munged.affinity = None;
            }
        }
        None => munged.affinity.clone_from(&old.affinity),
    }
}

/// The top-level fields that differ, before and after.
fn diff(old: &PodSpec, new: &PodSpec) -> String {
    let (Value::Object(old), Value::Object(new)) = (json(old), json(new)) else { return String::new() };
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let mut lines = String::new();
    for name in names {
        let (before, after) = (old.get(name), new.get(name));
        if before == after {
            continue;
        }
        for (sign, value) in [('-', before), ('+', after)] {
            if let Some(value) = value {
                lines.push_str(&format!("{sign} {name}: {value}\n"));
            }
        }
    }
    lines
}
