//! ResourceClaimTemplate: makes a ResourceClaim for each pod.

use k8s_openapi::api::resource::v1::ResourceClaimTemplate;

use crate::server::strategy::{Meta, Strategy};

pub struct ResourceClaimTemplates;

impl Strategy for ResourceClaimTemplates {
    type Kind = ResourceClaimTemplate;

    fn meta(&self) -> Meta {
        Meta::namespaced::<ResourceClaimTemplate>("resourceclaimtemplates")
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut ResourceClaimTemplate) {
        object.spec.spec.devices.iter_mut().for_each(super::device_claim);
    }
}
