//! CustomResourceDefinition: a kind defined by its users.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, required_text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

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

    fn validate(&self, new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>) -> Errors {
        let mut errors = Errors::new();
        let (path, spec) = (Path::new("spec"), &new.spec);
        let wanted = format!("{}.{}", spec.names.plural, spec.group);
        let name = new.metadata.name.as_deref().unwrap_or_default();
        if name != wanted {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
        }
        validation::required_name(&mut errors, &path.child("group"), &spec.group, names::dns1123_subdomain);
        validation::one_of(&mut errors, &path.child("scope"), &spec.scope, &["Cluster", "Namespaced"]);
        let names_path = path.child("names");
        validation::required_name(&mut errors, &names_path.child("plural"), &spec.names.plural, names::dns1035_label);
        let kind = |text: &str| names::dns1035_label(&text.to_lowercase());
        validation::required_name(&mut errors, &names_path.child("kind"), &spec.names.kind, kind);
        let here = path.child("versions");
        if spec.versions.iter().filter(|version| version.storage).count() != 1 {
            let detail = "must have exactly one version marked as storage version";
            errors.push(Error::invalid(&here, validation::json(&spec.versions), detail));
        }
        for (at, version) in spec.versions.iter().enumerate() {
            let here = here.index(at);
            validation::required_name(&mut errors, &here.child("name"), &version.name, names::dns1035_label);
            if version.schema.as_ref().is_none_or(|schema| schema.open_api_v3_schema.is_none()) {
                let detail = "schemas are required";
                errors.push(Error::required(&here.child("schema").child("openAPIV3Schema"), detail));
            }
        }
        let versions = spec.versions.iter().map(|version| version.name.as_str());
        validation::unique(&mut errors, &here, "name", versions);
        if let Some(before) = old.map(|old| &old.spec) {
            validation::immutable(&mut errors, &path.child("group"), &spec.group, &before.group);
            validation::immutable(&mut errors, &path.child("scope"), &spec.scope, &before.scope);
            validation::immutable(&mut errors, &names_path.child("plural"), &spec.names.plural, &before.names.plural);
            validation::immutable(&mut errors, &names_path.child("kind"), &spec.names.kind, &before.names.kind);
        }
        errors
    }
}
