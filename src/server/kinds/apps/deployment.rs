//! Deployment: declarative rollouts of ReplicaSets.

use k8s_openapi::api::apps::v1::Deployment;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct Deployments;

impl Strategy for Deployments {
    type Kind = Deployment;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["deploy"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("Deployment")] },
            generation: true,
            ..Meta::namespaced::<Deployment>("deployments")
        }
    }

    fn prepare_create(&self, object: &mut Deployment) {
        object.status = None;
    }

    fn prepare_update(&self, new: &mut Deployment, old: &Deployment) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Deployment, old: &Deployment) {
        new.spec = old.spec.clone();
        new.metadata.labels = old.metadata.labels.clone();
    }

    fn same_spec(&self, new: &Deployment, old: &Deployment) -> bool {
        // Annotations count too: the controller copies them to its ReplicaSets.
        new.spec == old.spec && new.metadata.annotations == old.metadata.annotations
    }
}
