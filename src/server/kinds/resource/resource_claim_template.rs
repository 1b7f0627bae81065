//! ResourceClaimTemplate: makes a ResourceClaim for each pod.

use k8s_openapi::api::resource::v1::ResourceClaimTemplate;

use super::claim;
use crate::api::field::{Errors, Path};
use crate::server::strategy::{Meta, Strategy};
use crate::server::validation::{self, labels};

pub struct ResourceClaimTemplates;

impl Strategy for ResourceClaimTemplates {
    type Kind = ResourceClaimTemplate;

    fn meta(&self) -> Meta {
        Meta::namespaced::<ResourceClaimTemplate>("resourceclaimtemplates")
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut ResourceClaimTemplate) {
        object.spec.metadata.get_or_insert_default();
        claim::complete(object.spec.spec.devices.get_or_insert_default());
    }

    fn validate(&self, new: &ResourceClaimTemplate, old: Option<&ResourceClaimTemplate>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        if let Some(old) = old {
            validation::immutable(&mut errors, &path, &new.spec, &old.spec);
            return errors;
        }
        if let Some(metadata) = &new.spec.metadata {
            labels::template_metadata(&mut errors, &path.child("metadata"), metadata);
        }
        if let Some(devices) = &new.spec.spec.devices {
            claim::claim(&mut errors, &path.child("spec").child("devices"), devices);
        }
        errors
    }
}
