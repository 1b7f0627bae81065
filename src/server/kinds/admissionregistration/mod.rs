//! Kinds of admissionregistration.k8s.io.

pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;

use k8s_openapi::api::admissionregistration::v1::{MatchResources, ParamKind, ParamRef, WebhookClientConfig};

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell::{self, UNSET};
use crate::server::kinds::defaults::text;
use crate::server::validation;

/// The defaults of what a policy matches.
fn match_resources(resources: &mut MatchResources) {
    text(&mut resources.match_policy, "Equivalent");
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let rules = resources.resource_rules.iter_mut().chain(&mut resources.exclude_resource_rules);
    rules.flatten().for_each(|rule| text(&mut rule.scope, "*"));
}

/// `apps/v1/Deployment`.
fn param_kind(kind: &ParamKind) -> String {
    format!("{}/{}", kind.api_version.as_deref().unwrap_or_default(), kind.kind.as_deref().unwrap_or_default())
}

/// `namespace/name` of the parameters a binding uses, or `*` where a selector picks them.
fn param_ref(reference: Option<&ParamRef>) -> String {
    let Some(reference) = reference else { return UNSET.to_owned() };
    let name = cell::or(reference.name.as_deref(), "*");
    match reference.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{namespace}/{name}"),
        None => format!("*/{name}"),
    }
}

/// What the two kinds of webhooks have in common.
struct Hook<'a> {
    name: &'a str,
    versions: &'a [String],
    side_effects: &'a str,
    timeout: Option<i32>,
    client: &'a WebhookClientConfig,
}

fn hook(errors: &mut Errors, path: &Path, hook: &Hook) {
    let problems = names::fully_qualified_name(hook.name);
    validation::named(errors, &path.child("name"), hook.name, problems);
    let versions = path.child("admissionReviewVersions");
    if hook.versions.is_empty() {
        let detail = "must specify one of v1, v1beta1";
        errors.push(Error::required(&versions, detail));
    } else if !hook.versions.iter().any(|version| matches!(version.as_str(), "v1" | "v1beta1")) {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(Error::invalid(&versions, validation::json(&hook.versions), detail));
    }
    validation::one_of(errors, &path.child("sideEffects"), hook.side_effects, &["None", "NoneOnDryRun"]);
    if let Some(seconds) = hook.timeout.filter(|seconds| !(1..=30).contains(seconds)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(Error::invalid(&path.child("timeoutSeconds"), seconds, detail));
    }
    let client = path.child("clientConfig");
    match (&hook.client.url, &hook.client.service) {
        (None, None) | (Some(_), Some(_)) => {
            errors.push(Error::required(&client, "exactly one of url or service is required"));
        }
        (Some(url), None) if !url.starts_with("https://") => {
            let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
            errors.push(Error::invalid(&client.child("url"), url.as_str(), detail));
        }
        (None, Some(service)) => {
            validation::required(errors, &client.child("service").child("name"), &service.name);
            validation::required(errors, &client.child("service").child("namespace"), &service.namespace);
        }
        _ => {}
    }
}
