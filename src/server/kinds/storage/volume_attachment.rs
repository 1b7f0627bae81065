//! VolumeAttachment: the intent to attach a volume to a node.

use k8s_openapi::api::storage::v1::VolumeAttachment;

use crate::server::strategy::{Meta, Strategy, Subresource};

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
}
