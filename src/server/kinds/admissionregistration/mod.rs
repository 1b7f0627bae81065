//! Kinds of admissionregistration.k8s.io.

pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;

use k8s_openapi::api::admissionregistration::v1::{MatchResources, ParamKind, ParamRef};

use crate::server::kinds::cell::{self, UNSET};
use crate::server::kinds::defaults::text;

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
