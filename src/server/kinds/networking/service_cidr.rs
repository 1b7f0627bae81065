//! ServiceCIDR: a range that Service addresses come from.

use k8s_openapi::api::networking::v1::ServiceCIDR;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct ServiceCidrs;

impl Strategy for ServiceCidrs {
    type Kind = ServiceCIDR;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("ServiceCIDR")] },
            ..Meta::cluster::<ServiceCIDR>("servicecidrs")
        }
    }

    crate::server::kinds::spec_and_status!();
}
