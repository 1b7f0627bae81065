//! StorageClass: how volumes are provisioned.

use k8s_openapi::api::storage::v1::StorageClass;

use crate::server::strategy::{Meta, Strategy};

pub struct StorageClasses;

impl Strategy for StorageClasses {
    type Kind = StorageClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["sc"], ..Meta::cluster::<StorageClass>("storageclasses") }
    }
}
