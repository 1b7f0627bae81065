//! Jobs, alone or in a CronJob's template.

use k8s_openapi::api::batch::v1::JobSpec;

use super::{immutable, labels, not_negative, one_of, optional_not_negative, optional_one_of, pod, text, workload};
use crate::api::field::{Error, Errors, Path};

/// `selected`: whether the selector is there already, as it is in a Job but not in a template of one.
pub fn spec(errors: &mut Errors, path: &Path, spec: &JobSpec, selected: bool) {
    if selected {
        match &spec.selector {
            None => errors.push(Error::required(&path.child("selector"), "")),
            Some(selector) => {
                labels::selector(errors, &path.child("selector"), Some(selector));
                workload::matches(errors, path, selector, &spec.template);
            }
        }
    }
    optional_not_negative(errors, &path.child("parallelism"), spec.parallelism);
    optional_not_negative(errors, &path.child("completions"), spec.completions);
    if let Some(seconds) = spec.active_deadline_seconds {
        not_negative(errors, &path.child("activeDeadlineSeconds"), seconds);
    }
    optional_not_negative(errors, &path.child("backoffLimit"), spec.backoff_limit);
    optional_not_negative(errors, &path.child("ttlSecondsAfterFinished"), spec.ttl_seconds_after_finished);
    optional_not_negative(errors, &path.child("backoffLimitPerIndex"), spec.backoff_limit_per_index);
    optional_not_negative(errors, &path.child("maxFailedIndexes"), spec.max_failed_indexes);
    optional_one_of(errors, &path.child("completionMode"), &spec.completion_mode, &["NonIndexed", "Indexed"]);
    let policies = ["Failed", "TerminatingOrFailed"];
    optional_one_of(errors, &path.child("podReplacementPolicy"), &spec.pod_replacement_policy, &policies);
    indexed(errors, path, spec);
    failure_policy(errors, path, spec);
    pod::template(errors, &path.child("template"), &spec.template);
    let policy = spec.template.spec.as_ref().map_or("", |pod| text(&pod.restart_policy));
    let path = path.child("template").child("spec").child("restartPolicy");
    match policy {
        "OnFailure" | "Never" => {}
        "Always" => errors.push(Error::required(&path, "valid values: \"OnFailure\", \"Never\"")),
        other => errors.push(Error::not_supported(&path, other, &["OnFailure", "Never"])),
    }
}

/// What makes sense only, or not at all, for a Job whose pods have indexes.
fn indexed(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    const PARALLELISM_MAX: i32 = 100_000;
    if text(&spec.completion_mode) == "Indexed" {
        if spec.completions.is_none() {
            let detail = "when completion mode is Indexed";
            errors.push(Error::required(&path.child("completions"), detail));
        }
        if let Some(parallelism) = spec.parallelism.filter(|wanted| *wanted > PARALLELISM_MAX) {
            let detail = format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
            errors.push(Error::invalid(&path.child("parallelism"), parallelism, detail));
        }
        return;
    }
    let indexed =
        [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
    for (field, value) in indexed {
        if let Some(value) = value {
            errors.push(Error::invalid(&path.child(field), value, "requires indexed completion mode"));
        }
    }
    if let Some(policy) = &spec.success_policy {
        let value = super::json(policy);
        errors.push(Error::invalid(&path.child("successPolicy"), value, "requires indexed completion mode"));
    }
}

fn failure_policy(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    let restart = spec.template.spec.as_ref().map_or("", |pod| text(&pod.restart_policy));
    if restart != "Never" {
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        let path = path.child("template").child("spec").child("restartPolicy");
        errors.push(Error::invalid(&path, restart, detail));
    }
    for (at, rule) in policy.rules.iter().enumerate() {
        let path = path.child("podFailurePolicy").child("rules").index(at);
        one_of(errors, &path.child("action"), &rule.action, &["Count", "FailIndex", "FailJob", "Ignore"]);
        match (&rule.on_exit_codes, rule.on_pod_conditions.as_ref().is_some_and(|patterns| !patterns.is_empty())) {
            (Some(_), true) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.push(Error::invalid(&path, super::json(rule), detail));
            }
            (None, false) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.push(Error::invalid(&path, super::json(rule), detail));
            }
            (Some(codes), false) => {
                one_of(errors, &path.child("onExitCodes").child("operator"), &codes.operator, &["In", "NotIn"]);
            }
            (None, true) => {}
        }
    }
}

/// What a Job cannot change once it is made.
pub fn fixed(errors: &mut Errors, path: &Path, new: &JobSpec, old: &JobSpec) {
    // An indexed Job may grow and shrink as one.
    let elastic = text(&new.completion_mode) == "Indexed"
        && old.completions.is_some()
        && new.completions.is_some()
        && new.completions == new.parallelism;
    if !elastic {
        immutable(errors, &path.child("completions"), &new.completions, &old.completions);
    }
    immutable(errors, &path.child("selector"), &new.selector, &old.selector);
    // While it is suspended, where its pods will run may change.
    if old.suspend != Some(true) {
        immutable(errors, &path.child("template"), &new.template, &old.template);
    }
    immutable(errors, &path.child("completionMode"), &new.completion_mode, &old.completion_mode);
    immutable(errors, &path.child("podFailurePolicy"), &new.pod_failure_policy, &old.pod_failure_policy);
    let (per_index, before) = (&new.backoff_limit_per_index, &old.backoff_limit_per_index);
    immutable(errors, &path.child("backoffLimitPerIndex"), per_index, before);
    immutable(errors, &path.child("managedBy"), &new.managed_by, &old.managed_by);
    immutable(errors, &path.child("successPolicy"), &new.success_policy, &old.success_policy);
}
