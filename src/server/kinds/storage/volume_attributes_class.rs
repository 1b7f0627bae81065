//! VolumeAttributesClass: mutable attributes of volumes.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use crate::server::strategy::{Meta, Strategy};

pub struct VolumeAttributesClasses;

impl Strategy for VolumeAttributesClasses {
    type Kind = VolumeAttributesClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["vac"], ..Meta::cluster::<VolumeAttributesClass>("volumeattributesclasses") }
    }
}
