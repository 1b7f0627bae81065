//! CSIDriver: what a storage driver can do.

use k8s_openapi::api::storage::v1::CSIDriver;

use crate::server::kinds::defaults::{absent, text};
use crate::server::strategy::{Meta, Strategy};

pub struct CsiDrivers;

impl Strategy for CsiDrivers {
    type Kind = CSIDriver;

    fn meta(&self) -> Meta {
        Meta { generation: true, unconditional_update: false, ..Meta::cluster::<CSIDriver>("csidrivers") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut CSIDriver) {
        let spec = &mut object.spec;
        absent(&mut spec.attach_required, true);
        absent(&mut spec.pod_info_on_mount, false);
        absent(&mut spec.storage_capacity, false);
        absent(&mut spec.requires_republish, false);
        absent(&mut spec.se_linux_mount, false);
        text(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }
}
