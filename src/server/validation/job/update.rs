//! What a Job cannot change once it is made, and where its pods run while it is suspended.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Affinity, PodTemplateSpec};

use super::super::{immutable, semantic};
use super::{is_indexed, status};
use crate::api::field::{Error, Errors, Path};

pub fn fixed(errors: &mut Errors, path: &Path, new: &JobSpec, old: &JobSpec, before: &Job) {
    completions(errors, &path.child("completions"), new, old);
    immutable(errors, &path.child("selector"), &new.selector, &old.selector);
    template(errors, &path.child("template"), &new.template, &old.template, before);
    immutable(errors, &path.child("completionMode"), &new.completion_mode, &old.completion_mode);
    immutable(errors, &path.child("podFailurePolicy"), &new.pod_failure_policy, &old.pod_failure_policy);
    let (per_index, was) = (&new.backoff_limit_per_index, &old.backoff_limit_per_index);
    immutable(errors, &path.child("backoffLimitPerIndex"), per_index, was);
    immutable(errors, &path.child("managedBy"), &new.managed_by, &old.managed_by);
    immutable(errors, &path.child("successPolicy"), &new.success_policy, &old.success_policy);
}

/// An indexed Job may grow and shrink as one.
fn completions(errors: &mut Errors, path: &Path, new: &JobSpec, old: &JobSpec) {
    if !is_indexed(new) {
        immutable(errors, path, &new.completions, &old.completions);
    } else if let Some(count) = new.completions.filter(|_| new.completions != old.completions)
        && new.completions != new.parallelism
    {
        errors.push(Error::invalid(path, count, "can only be modified in tandem with spec.parallelism"));
    }
}

/// Nothing of a template changes, unless the Job is suspended and has no pods, because it never started or because they
/// are gone: then what its pods need and where they run may.
fn template(errors: &mut Errors, path: &Path, new: &PodTemplateSpec, old: &PodTemplateSpec, before: &Job) {
    let suspended = before.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true));
    let status = before.status.as_ref();
    let started = status.is_some_and(|status| status.start_time.is_some());
    let gone = status::is(before, "Suspended") && status.is_none_or(|status| status.active.unwrap_or(0) == 0);
    if !suspended || (started && !gone) {
        return immutable(errors, path, new, old);
    }
    let allowed = allowed_template(new, old);
    if semantic::same(&new.spec, &allowed.spec) {
        immutable(errors, path, new, &allowed);
    } else {
        immutable(errors, &path.child("spec"), &new.spec, &allowed.spec);
    }
}

/// The old template with what may change taken from the new one.
fn allowed_template(new: &PodTemplateSpec, old: &PodTemplateSpec) -> PodTemplateSpec {
    let mut allowed = old.clone();
    let (labels, annotations) = match &new.metadata {
        Some(metadata) => (metadata.labels.clone(), metadata.annotations.clone()),
        None => (None, None),
    };
    if labels.is_some() || annotations.is_some() || allowed.metadata.is_some() {
        let metadata = allowed.metadata.get_or_insert_default();
        (metadata.labels, metadata.annotations) = (labels, annotations);
    }
    let (Some(to), Some(from)) = (&mut allowed.spec, &new.spec) else { return allowed };
    to.affinity = affinity(from.affinity.as_ref(), to.affinity.take());
    to.node_selector.clone_from(&from.node_selector);
    to.tolerations.clone_from(&from.tolerations);
    to.scheduling_gates.clone_from(&from.scheduling_gates);
    for (to, from) in to.containers.iter_mut().zip(&from.containers) {
        to.resources.clone_from(&from.resources);
    }
    for (to, from) in to.init_containers.iter_mut().flatten().zip(from.init_containers.iter().flatten()) {
        to.resources.clone_from(&from.resources);
    }
    allowed
}

/// Only the affinity to nodes may change.
fn affinity(new: Option<&Affinity>, old: Option<Affinity>) -> Option<Affinity> {
    let mut allowed = old.unwrap_or_default();
    allowed.node_affinity = new.and_then(|new| new.node_affinity.clone());
    Some(allowed).filter(|allowed| new.is_some() || *allowed != Affinity::default())
}
