//! StorageClass: how volumes are provisioned.

use k8s_openapi::api::storage::v1::StorageClass;

use crate::server::kinds::defaults::text;
use crate::server::strategy::{Meta, Strategy};

pub struct StorageClasses;

impl Strategy for StorageClasses {
    type Kind = StorageClass;

    fn meta(&self) -> Meta {
        Meta { short_names: &["sc"], ..Meta::cluster::<StorageClass>("storageclasses") }
    }

    fn default(&self, object: &mut StorageClass) {
        text(&mut object.reclaim_policy, "Delete");
        text(&mut object.volume_binding_mode, "Immediate");
    }
}
