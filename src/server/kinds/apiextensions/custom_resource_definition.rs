//! CustomResourceDefinition: a kind defined by its users.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, required_text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct CustomResourceDefinitions;

impl Strategy for CustomResourceDefinitions {
    type Kind = CustomResourceDefinition;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["crd", "crds"],
            categories: &["api-extensions"],
            subresources: const { &[Subresource::status("CustomResourceDefinition")] },
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<CustomResourceDefinition>("customresourcedefinitions")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut CustomResourceDefinition) {
        let spec = &mut object.spec;
        required_text(&mut spec.conversion.get_or_insert_default().strategy, "None");
        let names = &mut spec.names;
        if names.singular.as_deref().is_none_or(str::is_empty) {
            names.singular = Some(names.kind.to_lowercase());
        }
        if names.list_kind.as_deref().is_none_or(str::is_empty) && !names.kind.is_empty() {
            names.list_kind = Some(format!("{}List", names.kind));
        }
        let webhook = spec.conversion.as_mut().and_then(|conversion| conversion.webhook.as_mut());
        let service = webhook.and_then(|webhook| webhook.client_config.as_mut()?.service.as_mut());
        if let Some(service) = service {
            absent(&mut service.port, 443);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::NAME, cell::CREATED_AT];
        COLUMNS
    }

    fn cells(&self, object: &CustomResourceDefinition, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        Some(vec![cell::name(&object.metadata), cell::created(&object.metadata)])
    }
}
