//! DaemonSet: a pod on every node that suits.

use k8s_openapi::api::apps::v1::DaemonSet;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct DaemonSets;

impl Strategy for DaemonSets {
    type Kind = DaemonSet;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ds"],
            categories: &["all"],
            subresources: const { &[Subresource::status("DaemonSet")] },
            generation: true,
            ..Meta::namespaced::<DaemonSet>("daemonsets")
        }
    }

    crate::server::kinds::spec_and_status!();
}
