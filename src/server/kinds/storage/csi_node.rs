//! CSINode: the storage drivers of a node.

use k8s_openapi::api::storage::v1::CSINode;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct CsiNodes;

impl Strategy for CsiNodes {
    type Kind = CSINode;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::cluster::<CSINode>("csinodes") }
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::integer("Drivers", "The number of drivers registered on the node."), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &CSINode, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![cell::name(&object.metadata), object.spec.drivers.len().into(), cell::age(&object.metadata, now)])
    }
}
