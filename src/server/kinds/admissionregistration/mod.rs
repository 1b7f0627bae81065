//! Kinds of admissionregistration.k8s.io. The two of each pair share their defaults, rules and cells: `webhook` has
//! those of configurations, `policy` those of policies and bindings, `expressions` what their CEL may name.

mod expressions;
pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
mod policy;
mod rules;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;
mod webhook;

#[cfg(test)]
mod tests;
