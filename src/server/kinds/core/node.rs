//! Node: a machine that runs pods.

use k8s_openapi::api::core::v1::Node;

use crate::server::strategy::{Meta, PROXY, Strategy, Subresource};

const SUBRESOURCES: &[Subresource] = &[
    Subresource { name: "proxy", kind: "NodeProxyOptions", group_version: None, verbs: PROXY },
    Subresource::status("Node"),
];

pub struct Nodes;

impl Strategy for Nodes {
    type Kind = Node;

    fn meta(&self) -> Meta {
        Meta { short_names: &["no"], subresources: SUBRESOURCES, ..Meta::cluster::<Node>("nodes") }
    }

    // A kubelet registers its node with a status, so creation keeps it.
    fn prepare_update(&self, new: &mut Node, old: &Node) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Node, old: &Node) {
        new.spec = old.spec.clone();
    }
}
