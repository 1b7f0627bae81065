//! CSIStorageCapacity: how much a driver could still provision somewhere.

use k8s_openapi::api::storage::v1::CSIStorageCapacity;

use crate::server::strategy::{Meta, Strategy};

pub struct CsiStorageCapacities;

impl Strategy for CsiStorageCapacities {
    type Kind = CSIStorageCapacity;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::namespaced::<CSIStorageCapacity>("csistoragecapacities") }
    }
}
