//! ResourceSlice: devices that a driver offers.

use k8s_openapi::api::resource::v1::ResourceSlice;

use crate::server::strategy::{Meta, Strategy};

pub struct ResourceSlices;

impl Strategy for ResourceSlices {
    type Kind = ResourceSlice;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<ResourceSlice>("resourceslices") }
    }

    crate::server::kinds::spec_only!();
}
