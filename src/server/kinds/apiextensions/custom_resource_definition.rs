//! CustomResourceDefinition: a kind defined by its users.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use super::rules;
use crate::api::field::{Error, Errors, Path};
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

    fn prepare_create(&self, object: &mut CustomResourceDefinition) {
        object.status = Some(Default::default());
        remember_storage(object);
    }

    fn prepare_update(&self, new: &mut CustomResourceDefinition, old: &CustomResourceDefinition) {
        new.status = old.status.clone();
        remember_storage(new);
    }

    fn prepare_status(&self, new: &mut CustomResourceDefinition, old: &CustomResourceDefinition) {
        new.spec = old.spec.clone();
    }

    fn same_spec(&self, new: &CustomResourceDefinition, old: &CustomResourceDefinition) -> bool {
        new.spec == old.spec
    }

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

    fn validate(&self, new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>) -> Errors {
        let mut errors = Errors::new();
        let (path, spec) = (Path::new("spec"), &new.spec);
        let wanted = format!("{}.{}", spec.names.plural, spec.group);
        let name = new.metadata.name.as_deref().unwrap_or_default();
        if old.is_none() && name != wanted {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
        }
        rules::spec(&mut errors, &path, spec);
        if let Some(old) = old {
            rules::fixed(&mut errors, &path, spec, old);
        }
        let stored = new.status.as_ref().and_then(|status| status.stored_versions.as_deref());
        rules::stored_versions(&mut errors, stored.unwrap_or_default(), &spec.versions);
        rules::approved(&mut errors, new, old);
        let open = |definition: &CustomResourceDefinition| definition.spec.preserve_unknown_fields == Some(true);
        if open(new) && !old.is_some_and(open) {
            let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
            errors.push(Error::invalid(&path.child("preserveUnknownFields"), true, detail));
        }
        errors
    }

    fn validate_status(&self, new: &CustomResourceDefinition, _old: &CustomResourceDefinition) -> Errors {
        let mut errors = Errors::new();
        if let Some(names) = new.status.as_ref().and_then(|status| status.accepted_names.as_ref()) {
            rules::accepted(&mut errors, &Path::new("status").child("acceptedNames"), names);
        }
        errors
    }
}

/// The version that objects are stored in from now on joins those that they may be stored in already.
fn remember_storage(definition: &mut CustomResourceDefinition) {
    let Some(storage) = definition.spec.versions.iter().find(|version| version.storage) else { return };
    let stored = definition.status.get_or_insert_default().stored_versions.get_or_insert_default();
    if !stored.contains(&storage.name) {
        stored.push(storage.name.clone());
    }
}
