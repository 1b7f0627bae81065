//! What the controllers of pods have in common: a selector that matches their template, how many, and the counters
//! of their status.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{json, labels, not_negative, pod, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::{names, selector};

/// A selector that selects something, and a template that it matches, of pods that run for ever. `old` is what the
/// template was. For Deployments and ReplicaSets, of both of which upstream says deployment.
pub fn replicated(
    errors: &mut Errors,
    path: &Path,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    old: Option<&PodTemplateSpec>,
) {
    if selected(errors, path, selector, template, "deployment", "invalid label selector") {
        pod::template(errors, &path.child("template"), template, old);
        always(errors, path, template, "ReplicaSet");
    }
}

/// The part of [`replicated`] that looks at the selector only: whether it can be read. `unread` is what is said besides
/// if not; then upstream does not look at the template.
pub fn selected(
    errors: &mut Errors,
    path: &Path,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    kind: &str,
    unread: &str,
) -> bool {
    let here = path.child("selector");
    labels::selector(errors, &here, Some(selector));
    if selector::LabelSelector::from_api(Some(selector)).is_err() {
        errors.push(Error::invalid(&here, json(selector), unread));
        return false;
    }
    if is_absent(selector) {
        errors.push(Error::required(&here, ""));
        mismatch(errors, path, template);
    } else if labels::is_empty(selector) {
        errors.push(Error::invalid(&here, json(selector), empty(kind)));
    } else {
        matches(errors, path, selector, template);
    }
    true
}

/// The selector of a DaemonSet, of which upstream asks less: one that is absent only matches nothing.
pub fn daemons_selected(errors: &mut Errors, path: &Path, selector: &LabelSelector, template: &PodTemplateSpec) {
    let here = path.child("selector");
    labels::selector(errors, &here, Some(selector));
    if is_absent(selector) {
        mismatch(errors, path, template);
    } else if labels::is_empty(selector) {
        errors.push(Error::invalid(&here, json(selector), empty("daemonset")));
    } else {
        matches(errors, path, selector, template);
    }
}

/// The types do not tell an absent selector from an empty one; an absent one is the usual mistake.
fn is_absent(selector: &LabelSelector) -> bool {
    selector.match_labels.is_none() && selector.match_expressions.is_none()
}

fn empty(kind: &str) -> String {
    format!("empty selector is invalid for {kind}")
}

/// The labels of the template must be selected, or the controller would not know its own pods.
pub fn matches(errors: &mut Errors, path: &Path, selector: &LabelSelector, template: &PodTemplateSpec) {
    let Ok(selector) = selector::LabelSelector::from_api(Some(selector)) else { return };
    let empty = BTreeMap::new();
    if !selector.matches(labels_of(template).unwrap_or(&empty)) {
        mismatch(errors, path, template);
    }
}

fn mismatch(errors: &mut Errors, path: &Path, template: &PodTemplateSpec) {
    let path = path.child("template").child("metadata").child("labels");
    let shown = json(&labels_of(template)).to_string();
    errors.push(Error::invalid_shown(&path, &shown, "`selector` does not match template `labels`"));
}

fn labels_of(template: &PodTemplateSpec) -> Option<&BTreeMap<String, String>> {
    template.metadata.as_ref()?.labels.as_ref()
}

/// Pods of these controllers run for ever.
pub fn always(errors: &mut Errors, path: &Path, template: &PodTemplateSpec, kind: &str) {
    let Some(spec) = &template.spec else { return };
    let path = path.child("template").child("spec");
    let policy = text(&spec.restart_policy);
    if policy != "Always" {
        errors.push(Error::not_supported(&path.child("restartPolicy"), policy, &["Always"]));
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(Error::forbidden(&path.child("activeDeadlineSeconds"), detail));
    }
}

/// One counter of a status.
pub type Count = (&'static str, Option<i32>);

/// The counters of a status: none negative, and none of `parts` above `replicas`.
pub fn counts(errors: &mut Errors, path: &Path, replicas: i32, parts: &[Count], others: &[Count]) {
    not_negative(errors, &path.child("replicas"), replicas);
    for (name, count) in parts.iter().chain(others) {
        not_negative(errors, &path.child(name), count.unwrap_or(0));
    }
    for (name, count) in parts {
        at_most(errors, &path.child(name), *count, replicas, "cannot be greater than status.replicas");
    }
}

/// A count that is absent is none.
pub fn at_most(errors: &mut Errors, path: &Path, count: Option<i32>, bound: i32, detail: &str) {
    let count = count.unwrap_or(0);
    if count > bound {
        errors.push(Error::invalid(path, count, detail));
    }
}

/// What upstream warns of in the template of what is created, or changed: `same` says that the spec is as it was.
pub fn template_warnings(path: &Path, template: &PodTemplateSpec, same: bool) -> Vec<String> {
    let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let spec = template.spec.as_ref().filter(|_| !same);
    spec.map(|spec| pod::warnings(&path.child("template"), spec, annotations)).unwrap_or_default()
}

/// Names that become those of pods, and so host names.
pub fn name_warning(name: Option<&str>) -> Option<String> {
    let problems = names::dns1123_label(name.unwrap_or_default());
    let words = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended";
    (name.is_some() && !problems.is_empty()).then(|| format!("{words}: [{}]", problems.join(" ")))
}
