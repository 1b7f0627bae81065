//! CSINode: the storage drivers of a node.

use k8s_openapi::api::storage::v1::CSINode;

use crate::server::strategy::{Meta, Strategy};

pub struct CsiNodes;

impl Strategy for CsiNodes {
    type Kind = CSINode;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::cluster::<CSINode>("csinodes") }
    }

    crate::server::kinds::spec_only!();
}
