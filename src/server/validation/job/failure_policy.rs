//! What a Job does about pods that fail.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};

use super::super::{json, named};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const MAX_RULES: usize = 20;
const MAX_PATTERNS: usize = 20;
const MAX_EXIT_CODES: usize = 255;

pub fn failure_policy(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    let path = path.child("rules");
    if policy.rules.len() > MAX_RULES {
        errors.push(Error::too_many(&path, policy.rules.len(), MAX_RULES));
    }
    for (at, one) in policy.rules.iter().enumerate() {
        rule(errors, &path.index(at), one, spec);
    }
}

/// One of a few words, where upstream lists them in brackets.
fn word(errors: &mut Errors, path: &Path, value: &str, supported: &[&str]) {
    if value.is_empty() {
        let quoted: Vec<_> = supported.iter().map(|word| format!("{word:?}")).collect();
        errors.push(Error::required(path, format!("valid values: [{}]", quoted.join(" "))));
    } else if !supported.contains(&value) {
        errors.push(Error::not_supported(path, value, supported));
    }
}

fn rule(errors: &mut Errors, path: &Path, rule: &PodFailurePolicyRule, spec: &JobSpec) {
    let action = path.child("action");
    word(errors, &action, &rule.action, &["Count", "FailIndex", "FailJob", "Ignore"]);
    if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        let detail = "requires the backoffLimitPerIndex to be set";
        errors.push(Error::invalid(&action, rule.action.as_str(), detail));
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(errors, &path.child("onExitCodes"), codes, spec);
    }
    pod_conditions(errors, &path.child("onPodConditions"), patterns);
    match (&rule.on_exit_codes, patterns) {
        (Some(_), [_, ..]) => {
            let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.push(Error::invalid_unshown(path, detail));
        }
        (None, []) => {
            let detail = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.push(Error::invalid_unshown(path, detail));
        }
        _ => {}
    }
}

fn pod_conditions(errors: &mut Errors, path: &Path, patterns: &[PodFailurePolicyOnPodConditionsPattern]) {
    if patterns.len() > MAX_PATTERNS {
        errors.push(Error::too_many(path, patterns.len(), MAX_PATTERNS));
    }
    for (at, pattern) in patterns.iter().enumerate() {
        let path = path.index(at);
        named(errors, &path.child("type"), &pattern.type_, names::qualified_name(&pattern.type_));
        let status = pattern.status.as_deref().unwrap_or_default();
        word(errors, &path.child("status"), status, &["False", "True", "Unknown"]);
    }
}

fn exit_codes(errors: &mut Errors, path: &Path, codes: &PodFailurePolicyOnExitCodesRequirement, spec: &JobSpec) {
    word(errors, &path.child("operator"), &codes.operator, &["In", "NotIn"]);
    let pod = spec.template.spec.as_ref();
    let mut containers =
        pod.into_iter().flat_map(|pod| pod.containers.iter().chain(pod.init_containers.iter().flatten()));
    if let Some(name) = &codes.container_name
        && !containers.any(|container| container.name == *name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        errors.push(Error::invalid(&path.child("containerName"), name.as_str(), detail));
    }
    let path = path.child("values");
    let values = &codes.values;
    if values.is_empty() {
        errors.push(Error::invalid(&path, json(values), "at least one value is required"));
    } else if values.len() > MAX_EXIT_CODES {
        errors.push(Error::too_many(&path, values.len(), MAX_EXIT_CODES));
    }
    for (at, value) in values.iter().enumerate() {
        let path = path.index(at);
        if codes.operator == "In" && *value == 0 {
            errors.push(Error::invalid(&path, 0, "must not be 0 for the In operator"));
        }
        if values[..at].contains(value) {
            errors.push(Error::duplicate(&path, *value));
        }
    }
    if !values.is_sorted() {
        errors.push(Error::invalid(&path, json(values), "must be ordered"));
    }
}
