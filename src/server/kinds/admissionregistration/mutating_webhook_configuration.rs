//! MutatingWebhookConfiguration: webhooks that may change what is admitted.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::Value;

use super::webhook::{self, Webhook};
use crate::api::field::{Errors, Path};
use crate::server::kinds::defaults::absent_text;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct MutatingWebhookConfigurations;

impl Strategy for MutatingWebhookConfigurations {
    type Kind = MutatingWebhookConfiguration;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<MutatingWebhookConfiguration>("mutatingwebhookconfigurations")
        }
    }

    fn same_spec(&self, new: &MutatingWebhookConfiguration, old: &MutatingWebhookConfiguration) -> bool {
        new.webhooks == old.webhooks
    }

    fn default(&self, object: &mut MutatingWebhookConfiguration) {
        for hook in object.webhooks.iter_mut().flatten() {
            hook.complete();
            absent_text(&mut hook.reinvocation_policy, "Never");
        }
    }

    fn columns(&self) -> &'static [Column] {
        webhook::COLUMNS
    }

    fn cells(&self, object: &MutatingWebhookConfiguration, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(webhook::cells(&object.metadata, object.webhooks.as_ref().map_or(0, Vec::len), now))
    }

    fn validate(&self, new: &MutatingWebhookConfiguration, _old: Option<&MutatingWebhookConfiguration>) -> Errors {
        let mut errors = Errors::new();
        let hooks = new.webhooks.as_deref().unwrap_or_default();
        webhook::hooks(&mut errors, hooks);
        for (at, hook) in hooks.iter().enumerate() {
            let path = Path::new("webhooks").index(at).child("reinvocationPolicy");
            let policies = ["IfNeeded", "Never"];
            validation::optional_one_of(&mut errors, &path, &hook.reinvocation_policy, &policies);
        }
        errors
    }
}
