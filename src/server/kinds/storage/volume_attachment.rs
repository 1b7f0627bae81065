//! VolumeAttachment: the intent to attach a volume to a node.

use k8s_openapi::api::storage::v1::VolumeAttachment;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct VolumeAttachments;

impl Strategy for VolumeAttachments {
    type Kind = VolumeAttachment;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("VolumeAttachment")] },
            unconditional_update: false,
            ..Meta::cluster::<VolumeAttachment>("volumeattachments")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Attacher", "The driver that attaches the volume."),
            Column::string("PV", "The volume that is attached."),
            Column::string("Node", "The node that the volume is attached to."),
            Column { kind: "boolean", ..Column::string("Attached", "Whether the volume is attached.") },
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &VolumeAttachment, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let attached = object.status.as_ref().is_some_and(|status| status.attached);
        Some(vec![
            cell::name(&object.metadata),
            object.spec.attacher.clone().into(),
            cell::text(&object.spec.source.persistent_volume_name),
            object.spec.node_name.clone().into(),
            attached.into(),
            cell::age(&object.metadata, now),
        ])
    }
}
