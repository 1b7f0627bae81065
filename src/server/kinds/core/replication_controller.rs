//! ReplicationController: the ancestor of ReplicaSet.

use k8s_openapi::api::core::v1::ReplicationController;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct ReplicationControllers;

impl Strategy for ReplicationControllers {
    type Kind = ReplicationController;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["rc"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("ReplicationController")] },
            generation: true,
            ..Meta::namespaced::<ReplicationController>("replicationcontrollers")
        }
    }

    crate::server::kinds::spec_and_status!();
}
