//! ReplicationController: the ancestor of ReplicaSet.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ReplicationController;

use crate::server::kinds::defaults;
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

    fn default(&self, object: &mut ReplicationController) {
        let Some(spec) = &mut object.spec else { return };
        defaults::absent(&mut spec.replicas, 1);
        spec.template.iter_mut().for_each(defaults::pod::template);
        let labels = spec.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.clone());
        if let Some(labels) = labels {
            if spec.selector.as_ref().is_none_or(BTreeMap::is_empty) {
                spec.selector = Some(labels.clone());
            }
            if object.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
                object.metadata.labels = Some(labels);
            }
        }
    }
}
