//! MutatingWebhookConfiguration: webhooks that may change what is admitted.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;

use crate::server::strategy::{Meta, Strategy};

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
}
