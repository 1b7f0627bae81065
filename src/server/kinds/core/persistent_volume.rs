//! PersistentVolume: a piece of storage of the cluster.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeStatus};

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct PersistentVolumes;

impl Strategy for PersistentVolumes {
    type Kind = PersistentVolume;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["pv"],
            subresources: const { &[Subresource::status("PersistentVolume")] },
            ..Meta::cluster::<PersistentVolume>("persistentvolumes")
        }
    }

    fn prepare_create(&self, object: &mut PersistentVolume) {
        object.status = Some(PersistentVolumeStatus { phase: Some("Pending".to_owned()), ..Default::default() });
    }

    fn prepare_update(&self, new: &mut PersistentVolume, old: &PersistentVolume) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut PersistentVolume, old: &PersistentVolume) {
        new.spec = old.spec.clone();
    }
}
