//! PersistentVolume: a piece of storage of the cluster.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeStatus};

use crate::server::kinds::defaults;
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

    fn default(&self, object: &mut PersistentVolume) {
        if let Some(status) = &mut object.status {
            defaults::text(&mut status.phase, "Pending");
        }
        let Some(spec) = &mut object.spec else { return };
        defaults::text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        defaults::text(&mut spec.volume_mode, "Filesystem");
        defaults::quantities(&mut spec.capacity);
        if let Some(host_path) = &mut spec.host_path {
            defaults::absent(&mut host_path.type_, String::new());
        }
    }
}
