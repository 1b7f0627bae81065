//! VolumeAttributesClass: mutable attributes of volumes.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct VolumeAttributesClasses;

impl Strategy for VolumeAttributesClasses {
    type Kind = VolumeAttributesClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["vac"], ..Meta::cluster::<VolumeAttributesClass>("volumeattributesclasses") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::string("DriverName", "The driver that these attributes are for."), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &VolumeAttributesClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![cell::name(&object.metadata), object.driver_name.clone().into(), cell::age(&object.metadata, now)])
    }
}
