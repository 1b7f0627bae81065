//! PriorityLevelConfiguration: how many requests of a level run at once.

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct PriorityLevelConfigurations;

impl Strategy for PriorityLevelConfigurations {
    type Kind = PriorityLevelConfiguration;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("PriorityLevelConfiguration")] },
            generation: true,
            unconditional_update: false,
            ..Meta::cluster::<PriorityLevelConfiguration>("prioritylevelconfigurations")
        }
    }

    crate::server::kinds::spec_and_status!();
}
