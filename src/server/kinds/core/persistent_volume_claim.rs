//! PersistentVolumeClaim: a request for storage.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct PersistentVolumeClaims;

impl Strategy for PersistentVolumeClaims {
    type Kind = PersistentVolumeClaim;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["pvc"],
            subresources: const { &[Subresource::status("PersistentVolumeClaim")] },
            ..Meta::namespaced::<PersistentVolumeClaim>("persistentvolumeclaims")
        }
    }

    fn prepare_create(&self, object: &mut PersistentVolumeClaim) {
        object.status = Some(PersistentVolumeClaimStatus { phase: Some("Pending".to_owned()), ..Default::default() });
    }

    fn prepare_update(&self, new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.spec = old.spec.clone();
    }
}
