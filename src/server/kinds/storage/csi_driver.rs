//! CSIDriver: what a storage driver can do.

use k8s_openapi::api::storage::v1::CSIDriver;

use crate::server::strategy::{Meta, Strategy};

pub struct CsiDrivers;

impl Strategy for CsiDrivers {
    type Kind = CSIDriver;

    fn meta(&self) -> Meta {
        Meta { generation: true, unconditional_update: false, ..Meta::cluster::<CSIDriver>("csidrivers") }
    }

    crate::server::kinds::spec_only!();
}
