//! Node: a machine that runs pods.

use k8s_openapi::api::core::v1::Node;

use crate::server::kinds::defaults;
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

    fn default(&self, object: &mut Node) {
        if let Some(status) = &mut object.status {
            defaults::quantities(&mut status.capacity);
            defaults::quantities(&mut status.allocatable);
            if status.allocatable.is_none() {
                status.allocatable.clone_from(&status.capacity);
            }
        }
        let Some(spec) = &mut object.spec else { return };
        // The single CIDR is the first of the list.
        if let Some(first) = spec.pod_cidr.clone().filter(|cidr| !cidr.is_empty()) {
            let list = spec.pod_cidrs.get_or_insert_default();
            if list.is_empty() {
                list.push(first);
            }
        }
    }

    fn same_spec(&self, new: &Node, old: &Node) -> bool {
        new.spec == old.spec
    }
}
