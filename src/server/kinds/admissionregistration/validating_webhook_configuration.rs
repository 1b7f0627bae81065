//! ValidatingWebhookConfiguration: webhooks that may refuse what is admitted.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

use crate::server::strategy::{Meta, Strategy};

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
}
