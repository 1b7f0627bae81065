//! CSIStorageCapacity: how much a driver could still provision somewhere.

use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct CsiStorageCapacities;

impl Strategy for CsiStorageCapacities {
    type Kind = CSIStorageCapacity;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::namespaced::<CSIStorageCapacity>("csistoragecapacities") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("StorageClassName", "The class that the capacity is for."),
            Column::string("Capacity", "How much can still be provisioned."),
        ];
        COLUMNS
    }

    fn cells(&self, object: &CSIStorageCapacity, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        Some(vec![
            cell::name(&object.metadata),
            object.storage_class_name.clone().into(),
            object.capacity.as_ref().map_or(cell::UNSET, |capacity| &capacity.0).into(),
        ])
    }
}
