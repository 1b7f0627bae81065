//! StatefulSet: pods with stable names and storage.

use k8s_openapi::api::apps::v1::StatefulSet;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct StatefulSets;

impl Strategy for StatefulSets {
    type Kind = StatefulSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["sts"],
            categories: &["all"],
            subresources: const { &[Subresource::scale(), Subresource::status("StatefulSet")] },
            generation: true,
            ..Meta::namespaced::<StatefulSet>("statefulsets")
        }
    }

    crate::server::kinds::spec_and_status!();
}
