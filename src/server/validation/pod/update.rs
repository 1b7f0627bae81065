//! What an update of a pod may change: almost nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, NodeAffinity, NodeSelectorTerm, Pod, PodSpec, Toleration};
use serde_json::Value;

use super::super::{internal, json, required, semantic, text};
use super::{Kept, annotations};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn update(new: &Pod, old: &Pod) -> Errors {
    let mut errors = super::metadata_and_spec(new, Some(old));
    let path = Path::new("spec");
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return errors };
    let annotated = Path::new("metadata").child("annotations");
    annotations::update(&mut errors, &annotated, new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref());
    let inits = |spec: &PodSpec| spec.init_containers.clone().unwrap_or_default();
    if images(&mut errors, &path.child("containers"), &new_spec.containers, &old_spec.containers)
        || images(&mut errors, &path.child("initContainers"), &inits(new_spec), &inits(old_spec))
        || deadline(&mut errors, &path.child("activeDeadlineSeconds"), new_spec, old_spec)
    {
        return errors;
    }
    added_tolerations(&mut errors, &path.child("tolerations"), new_spec, old_spec);
    removed_gates(&mut errors, &path.child("schedulingGates"), new_spec, old_spec);
    let mut munged = munged(new_spec, old_spec);
    if old_spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        gated(&mut errors, &path, &mut munged, old_spec);
    }
    if !semantic::same(&munged, old_spec) {
        let detail =
            format!("pod updates may not change fields other than {UPDATABLE}\n{}", semantic::diff(old_spec, &munged));
        errors.push(Error::forbidden(&path, detail));
    }
    errors
}

/// Images must stay images; whether the number of containers changed, which ends the comparison.
fn images(errors: &mut Errors, path: &Path, new: &[Container], old: &[Container]) -> bool {
    if new.len() != old.len() {
        errors.push(Error::forbidden(path, "pod updates may not add or remove containers"));
        return true;
    }
    for (at, container) in new.iter().enumerate() {
        required(errors, &path.index(at).child("image"), text(&container.image));
        super::containers::untrimmed(errors, &path.index(at), container);
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
    let same = |one: &Toleration, other: &Toleration| {
        let timeless = |one: &Toleration| Toleration { toleration_seconds: None, ..one.clone() };
        semantic::same(&timeless(one), &timeless(other))
    };
    let kept = |before: &Toleration| new.tolerations.iter().flatten().any(|after| same(after, before));
    if !old.tolerations.iter().flatten().all(kept) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        return errors.push(Error::forbidden(path, detail));
    }
    super::tolerations(errors, path, new.tolerations.as_deref().unwrap_or_default(), Kept::by(Some(old)));
}

fn removed_gates(errors: &mut Errors, path: &Path, new: &PodSpec, old: &PodSpec) {
    for (at, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        if !old.scheduling_gates.iter().flatten().any(|before| before.name == gate.name) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
            errors.push(Error::forbidden(&path.index(at).child("name"), detail));
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
    let empty = BTreeMap::new();
    let new_selector = munged.node_selector.as_ref().unwrap_or(&empty);
    if !old.node_selector.iter().flatten().all(|(key, value)| new_selector.get(key) == Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.push(Error::invalid(&path.child("nodeSelector"), json(new_selector), detail));
    }
    munged.node_selector.clone_from(&old.node_selector);
    let before = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let after = munged.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    if semantic::same(&before, &after) {
        return;
    }
    let here = path.child("affinity").child("nodeAffinity").child("requiredDuringSchedulingIgnoredDuringExecution");
    narrowed(errors, &here.child("nodeSelectorTerms"), terms(after.as_ref()), terms(before.as_ref()));
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

fn terms(affinity: Option<&NodeAffinity>) -> Option<&Vec<NodeSelectorTerm>> {
    Some(&affinity?.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms)
}

/// As many terms as before, each with its old requirements first.
fn narrowed(
    errors: &mut Errors,
    path: &Path,
    new: Option<&Vec<NodeSelectorTerm>>,
    old: Option<&Vec<NodeSelectorTerm>>,
) {
    let Some(old) = old.filter(|old| !old.is_empty()) else { return };
    if new.map_or(0, Vec::len) != old.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.push(Error::invalid_shown(path, &internal::node_terms(new), detail));
    }
    for (at, (new, old)) in new.into_iter().flatten().zip(old).enumerate() {
        let lists = [(&new.match_expressions, &old.match_expressions), (&new.match_fields, &old.match_fields)];
        let extends = lists.iter().all(|(new, old)| {
            let (new, old) = (new.as_deref().unwrap_or_default(), old.as_deref().unwrap_or_default());
            new.starts_with(old)
        });
        // A term without requirements matches no node; a requirement would make it match some.
        let is_empty = |term: &NodeSelectorTerm| {
            term.match_expressions.as_ref().is_none_or(Vec::is_empty)
                && term.match_fields.as_ref().is_none_or(Vec::is_empty)
        };
        if !extends || is_empty(old) && !is_empty(new) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(Error::invalid_shown(&path.index(at), &internal::node_term(new), detail));
        }
    }
}
