//! DeviceClass: a named selection of devices.

use k8s_openapi::api::resource::v1::DeviceClass;

use crate::server::strategy::{Meta, Strategy};

pub struct DeviceClasses;

impl Strategy for DeviceClasses {
    type Kind = DeviceClass;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<DeviceClass>("deviceclasses") }
    }

    crate::server::kinds::spec_only!();
}
