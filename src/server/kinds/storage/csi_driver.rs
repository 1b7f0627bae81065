//! CSIDriver: what a storage driver can do.

use k8s_openapi::api::storage::v1::CSIDriver;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, text};
use crate::server::strategy::{Column, Meta, Strategy};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column {
                kind: "boolean",
                ..Column::string("AttachRequired", "Whether volumes are attached before they are mounted.")
            },
            Column { kind: "boolean", ..Column::string("PodInfoOnMount", "Whether the driver is told about the pod.") },
            Column {
                kind: "boolean",
                ..Column::string("StorageCapacity", "Whether the driver publishes its capacity.")
            },
            Column::string("TokenRequests", "The audiences of the tokens that the driver gets."),
            Column {
                kind: "boolean",
                ..Column::string("RequiresRepublish", "Whether volumes are published again periodically.")
            },
            Column::string("Modes", "The kinds of volumes that the driver supports."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &CSIDriver, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = &object.spec;
        let tokens: Vec<_> = spec.token_requests.iter().flatten().map(|token| token.audience.clone()).collect();
        Some(vec![
            cell::name(&object.metadata),
            spec.attach_required.unwrap_or(true).into(),
            spec.pod_info_on_mount.unwrap_or(false).into(),
            spec.storage_capacity.unwrap_or(false).into(),
            if tokens.is_empty() { cell::UNSET.into() } else { tokens.join(",").into() },
            spec.requires_republish.unwrap_or(false).into(),
            cell::list(spec.volume_lifecycle_modes.as_deref().unwrap_or_default()).into(),
            cell::age(&object.metadata, now),
        ])
    }
}
