//! Whether and when a container starts again: its own policy and the rules before it (KEP-5307), and what a change of
//! its resources does.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

use super::super::one_of;
use crate::api::field::{Error, Errors, Path};
use crate::api::pod::{RESTART_ALL, is_sidecar};

const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
const ACTIONS: &[&str] = &["Restart", RESTART_ALL];
const OPERATORS: &[&str] = &["In", "NotIn"];
const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

pub fn policy(errors: &mut Errors, path: &Path, container: &Container) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let here = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if rules.is_empty() => return,
        None => errors.push(Error::required(&here, "must specify restartPolicy when restart rules are used")),
        Some(policy) if !POLICIES.contains(&policy) => errors.push(Error::not_supported(&here, policy, POLICIES)),
        Some(_) => {}
    }
    let here = path.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.push(Error::too_many(&here, rules.len(), MAX_RULES));
    }
    for (at, one) in rules.iter().enumerate() {
        rule(errors, &here.index(at), one);
    }
}

fn rule(errors: &mut Errors, path: &Path, rule: &ContainerRestartRule) {
    if !ACTIONS.contains(&rule.action.as_str()) {
        errors.push(Error::not_supported(&path.child("action"), rule.action.as_str(), ACTIONS));
    }
    let path = path.child("exitCodes");
    let Some(codes) = &rule.exit_codes else { return errors.push(Error::required(&path, "must be specified")) };
    if !OPERATORS.contains(&codes.operator.as_str()) {
        errors.push(Error::not_supported(&path.child("operator"), codes.operator.as_str(), OPERATORS));
    }
    let values = codes.values.as_ref().map_or(0, Vec::len);
    if values > MAX_CODES {
        errors.push(Error::too_many(&path.child("values"), values, MAX_CODES));
    }
}

fn run_once(spec: &PodSpec) -> impl Iterator<Item = (usize, &Container)> {
    spec.init_containers.iter().flatten().enumerate().filter(|(_, one)| !is_sidecar(one))
}

/// Whether a container that runs once would be restarted to be resized.
pub fn has_resized_init(spec: &PodSpec) -> bool {
    let mut policies = run_once(spec).flat_map(|(_, container)| container.resize_policy.iter().flatten());
    policies.any(|policy| policy.restart_policy == "RestartContainer")
}

/// What runs once and ends is not restarted to be resized.
pub fn resized_init(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    for (at, container) in run_once(spec) {
        let path = path.child("initContainers").index(at).child("resizePolicy");
        for (at, policy) in container.resize_policy.iter().flatten().enumerate() {
            if policy.restart_policy == "RestartContainer" {
                let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                let path = path.index(at).child("restartPolicy");
                errors.push(Error::invalid(&path, policy.restart_policy.as_str(), detail));
            }
        }
    }
}

pub fn resize_policy(errors: &mut Errors, path: &Path, container: &Container, of_pod: &str) {
    let mut seen = Vec::new();
    for (at, policy) in container.resize_policy.iter().flatten().enumerate() {
        let name = policy.resource_name.as_str();
        if seen.contains(&name) {
            errors.push(Error::duplicate(&path.index(at), name));
        }
        seen.push(name);
        one_of(errors, path, name, &["cpu", "memory"]);
        one_of(errors, path, &policy.restart_policy, &["NotRequired", "RestartContainer"]);
        if of_pod == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(Error::invalid(path, policy.restart_policy.as_str(), detail));
        }
    }
}
