//! CustomResourceDefinition: a kind defined by its users.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::server::strategy::{Meta, Strategy, Subresource};

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
}
