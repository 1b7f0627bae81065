//! ValidatingWebhookConfiguration: webhooks that may refuse what is admitted.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::Value;

use super::webhook::{self, Webhook};
use crate::api::field::Errors;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct ValidatingWebhookConfigurations;

impl Strategy for ValidatingWebhookConfigurations {
    type Kind = ValidatingWebhookConfiguration;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["api-extensions"],
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<ValidatingWebhookConfiguration>("validatingwebhookconfigurations")
        }
    }

    fn same_spec(&self, new: &ValidatingWebhookConfiguration, old: &ValidatingWebhookConfiguration) -> bool {
        new.webhooks == old.webhooks
    }

    fn default(&self, object: &mut ValidatingWebhookConfiguration) {
        object.webhooks.iter_mut().flatten().for_each(Webhook::complete);
    }

    fn columns(&self) -> &'static [Column] {
        webhook::COLUMNS
    }

    fn cells(&self, object: &ValidatingWebhookConfiguration, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(webhook::cells(&object.metadata, object.webhooks.as_ref().map_or(0, Vec::len), now))
    }

    fn validate(&self, new: &ValidatingWebhookConfiguration, _old: Option<&ValidatingWebhookConfiguration>) -> Errors {
        let mut errors = Errors::new();
        let hooks = new.webhooks.as_deref().unwrap_or_default();
        webhook::hooks(&mut errors, hooks);
        errors
    }
}
