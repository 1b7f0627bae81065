//! ValidatingWebhookConfiguration: webhooks that may refuse what is admitted.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, text};
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

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
        for hook in object.webhooks.iter_mut().flatten() {
            text(&mut hook.failure_policy, "Fail");
            text(&mut hook.match_policy, "Equivalent");
            hook.namespace_selector.get_or_insert_default();
            hook.object_selector.get_or_insert_default();
            absent(&mut hook.timeout_seconds, 10);
            hook.rules.iter_mut().flatten().for_each(|rule| text(&mut rule.scope, "*"));
            if let Some(service) = &mut hook.client_config.service {
                absent(&mut service.port, 443);
            }
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ValidatingWebhookConfiguration, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let hooks = object.webhooks.as_ref().map_or(0, Vec::len);
        Some(vec![cell::name(&object.metadata), hooks.into(), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &ValidatingWebhookConfiguration, _old: Option<&ValidatingWebhookConfiguration>) -> Errors {
        let mut errors = Errors::new();
        for (at, hook) in new.webhooks.iter().flatten().enumerate() {
            let path = Path::new("webhooks").index(at);
            super::hook(
                &mut errors,
                &path,
                &super::Hook {
                    name: &hook.name,
                    versions: &hook.admission_review_versions,
                    side_effects: &hook.side_effects,
                    timeout: hook.timeout_seconds,
                    client: &hook.client_config,
                },
            );
            validation::optional_one_of(
                &mut errors,
                &path.child("failurePolicy"),
                &hook.failure_policy,
                &["Fail", "Ignore"],
            );
            validation::optional_one_of(
                &mut errors,
                &path.child("matchPolicy"),
                &hook.match_policy,
                &["Equivalent", "Exact"],
            );
            validation::labels::selector(
                &mut errors,
                &path.child("namespaceSelector"),
                hook.namespace_selector.as_ref(),
            );
            validation::labels::selector(&mut errors, &path.child("objectSelector"), hook.object_selector.as_ref());
        }
        let names = new.webhooks.iter().flatten().map(|hook| hook.name.as_str());
        validation::unique(&mut errors, &Path::new("webhooks"), "name", names);
        errors
    }
}
