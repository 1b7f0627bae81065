//! PersistentVolume: a piece of storage of the cluster.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

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
        let phase = Some("Pending".to_owned());
        object.status = Some(PersistentVolumeStatus { phase, last_phase_transition_time: now(), ..Default::default() });
    }

    fn prepare_update(&self, new: &mut PersistentVolume, old: &PersistentVolume) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut PersistentVolume, old: &PersistentVolume) {
        new.spec = old.spec.clone();
        let before = old.status.clone().unwrap_or_default();
        let Some(status) = &mut new.status else { return };
        let time = &mut status.last_phase_transition_time;
        match status.phase == before.phase {
            true if time.is_none() => *time = before.last_phase_transition_time,
            false if time.is_none() || *time == before.last_phase_transition_time => *time = now(),
            _ => {}
        }
    }

    fn default(&self, object: &mut PersistentVolume) {
        if let Some(status) = &mut object.status {
            defaults::text(&mut status.phase, "Pending");
        }
        let spec = object.spec.get_or_insert_default();
        defaults::text(&mut spec.persistent_volume_reclaim_policy, "Retain");
        defaults::text(&mut spec.volume_mode, "Filesystem");
        defaults::quantities(&mut spec.capacity);
        defaults::volumes::persistent(spec);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Capacity", "capacity is the description of the persistent volume's resources and capacity. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#capacity"),
            Column::string("Access Modes", "accessModes contains all ways the volume can be mounted. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes"),
            Column::string("Reclaim Policy", "persistentVolumeReclaimPolicy defines what happens to a persistent volume when released from its claim. Valid options are Retain (default for manually created PersistentVolumes), Delete (default for dynamically provisioned PersistentVolumes), and Recycle (deprecated). Recycle must be supported by the volume plugin underlying this PersistentVolume. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#reclaiming"),
            Column::string("Status", "phase indicates if a volume is available, bound to a claim, or released by a claim. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#phase"),
            Column::string("Claim", "claimRef is part of a bi-directional binding between PersistentVolume and PersistentVolumeClaim. Expected to be non-nil when bound. claim.VolumeName is the authoritative bind between PV and PVC. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#binding"),
            Column::string("StorageClass", "StorageClass of the pv"),
            Column::string("VolumeAttributesClass", "VolumeAttributesClass of the pv"),
            Column::string("Reason", "reason is a brief CamelCase string that describes any failure and is meant for machine parsing and tidy display in the CLI."),
            Column::AGE,
            Column::string("VolumeMode", "volumeMode defines if a volume is intended to be used with a formatted filesystem or to remain in raw block state. Value of Filesystem is implied when not included in spec.").wide(),
        ];
        COLUMNS
    }

    fn cells(&self, object: &PersistentVolume, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let storage = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
        let claim = spec.claim_ref.as_ref().map(|claim| {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            format!("{}/{}", text(&claim.namespace), text(&claim.name))
        });
        let deleted = object.metadata.deletion_timestamp.is_some();
        let phase = if deleted { "Terminating" } else { status.phase.as_deref().unwrap_or_default() };
        Some(vec![
            cell::name(&object.metadata),
            storage.map_or("", |amount| &amount.0).into(),
            cell::access_modes(spec.access_modes.as_ref()).into(),
            cell::text(&spec.persistent_volume_reclaim_policy),
            phase.into(),
            claim.unwrap_or_default().into(),
            cell::text(&spec.storage_class_name),
            cell::or(spec.volume_attributes_class_name.as_deref(), cell::UNSET).into(),
            cell::text(&status.reason),
            cell::age(&object.metadata, now),
            cell::or(spec.volume_mode.as_deref(), cell::UNSET).into(),
        ])
    }

    fn warnings(&self, new: &PersistentVolume, _old: Option<&PersistentVolume>) -> Vec<String> {
        let annotations = new.metadata.annotations.as_ref();
        new.spec.as_ref().map(|spec| validation::storage::volume_warnings(annotations, spec)).unwrap_or_default()
    }

    fn validate(&self, new: &PersistentVolume, old: Option<&PersistentVolume>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path, ""));
            return errors;
        };
        validation::storage::volume(&mut errors, &path, spec, validation::text(&new.metadata.name));
        if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
            validation::storage::volume_change(&mut errors, spec, before);
        }
        errors
    }
}

/// When a volume changes its phase, unless its controller says when; to the second.
fn now() -> Option<Time> {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).ok().map(Time)
}
