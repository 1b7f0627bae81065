//! ResourceClaim: a request for devices.

use k8s_openapi::api::resource::v1::ResourceClaim;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct ResourceClaims;

impl Strategy for ResourceClaims {
    type Kind = ResourceClaim;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("ResourceClaim")] },
            ..Meta::namespaced::<ResourceClaim>("resourceclaims")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ResourceClaim) {
        object.spec.devices.iter_mut().for_each(super::device_claim);
    }
}
