//! What the controllers of pods have in common: a selector that matches their template, and how many.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{json, labels, pod, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::selector;

/// A selector that selects something, and a template that it matches. `kind` is how upstream calls the kind here.
pub fn selected_template(
    errors: &mut Errors,
    path: &Path,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    kind: &str,
) {
    let selector_path = path.child("selector");
    labels::selector(errors, &selector_path, Some(selector));
    if labels::is_empty(selector) {
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(Error::invalid(&selector_path, json(selector), detail));
    } else {
        matches(errors, path, selector, template);
    }
    pod::template(errors, &path.child("template"), template);
}

/// The labels of the template must be selected, or the controller would not know its own pods.
pub fn matches(errors: &mut Errors, path: &Path, selector: &LabelSelector, template: &PodTemplateSpec) {
    let Ok(selector) = selector::LabelSelector::from_api(Some(selector)) else { return };
    let empty = BTreeMap::new();
    let labels = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref()).unwrap_or(&empty);
    if !selector.matches(labels) {
        let path = path.child("template").child("metadata").child("labels");
        errors.push(Error::invalid(&path, json(labels), "`selector` does not match template `labels`"));
    }
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
