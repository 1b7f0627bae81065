//! The defaults of Jobs, alone or in a CronJob's template.

use k8s_openapi::api::batch::v1::JobSpec;

use super::{absent, absent_text, pod, text};

pub fn job_spec(spec: &mut JobSpec) {
    // Without either number the Job is one pod that must succeed once.
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    absent(&mut spec.parallelism, 1);
    // With limits per index, the global one is there only as a brake.
    let limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    absent(&mut spec.backoff_limit, limit);
    absent_text(&mut spec.completion_mode, "NonIndexed");
    absent(&mut spec.suspend, false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    absent_text(&mut spec.pod_replacement_policy, replacement);
    absent(&mut spec.manual_selector, false);
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            text(&mut pattern.status, "True");
        }
    }
    pod::template(&mut spec.template);
}
