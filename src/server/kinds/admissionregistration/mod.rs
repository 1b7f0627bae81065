//! Kinds of admissionregistration.k8s.io.

pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;

use k8s_openapi::api::admissionregistration::v1::MatchResources;

use crate::server::kinds::defaults::text;

/// The defaults of what a policy matches.
fn match_resources(resources: &mut MatchResources) {
    text(&mut resources.match_policy, "Equivalent");
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let rules = resources.resource_rules.iter_mut().chain(&mut resources.exclude_resource_rules);
    rules.flatten().for_each(|rule| text(&mut rule.scope, "*"));
}
