//! ReplicaSet: so many pods of one template.

use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct ReplicaSets;

impl Strategy for ReplicaSets {
    type Kind = ReplicaSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["rs"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("ReplicaSet")] },
            generation: true,
            ..Meta::namespaced::<ReplicaSet>("replicasets")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ReplicaSet) {
        let Some(spec) = &mut object.spec else { return };
        defaults::absent(&mut spec.replicas, 1);
        spec.template.iter_mut().for_each(defaults::pod::template);
    }
}
