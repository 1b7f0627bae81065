//! PersistentVolumeClaim: a request for storage.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimStatus, TypedLocalObjectReference, TypedObjectReference,
};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

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

    fn drop_closed(&self, new: &mut PersistentVolumeClaim, old: Option<&PersistentVolumeClaim>) {
        closed::drop(closed::CLAIM, new, old);
    }

    fn prepare_create(&self, object: &mut PersistentVolumeClaim) {
        object.status = Some(PersistentVolumeClaimStatus { phase: Some("Pending".to_owned()), ..Default::default() });
        sources(object, None);
    }

    fn prepare_update(&self, new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.status = old.status.clone();
        sources(new, Some(old));
    }

    fn prepare_status(&self, new: &mut PersistentVolumeClaim, old: &PersistentVolumeClaim) {
        new.spec = old.spec.clone();
    }

    fn default(&self, object: &mut PersistentVolumeClaim) {
        if let Some(status) = &mut object.status {
            defaults::text(&mut status.phase, "Pending");
            defaults::quantities(&mut status.capacity);
            defaults::quantities(&mut status.allocated_resources);
        }
        let Some(spec) = &mut object.spec else { return };
        defaults::claim_spec(spec);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Status", "phase represents the current phase of PersistentVolumeClaim."),
            Column::string("Volume", "volumeName is the binding reference to the PersistentVolume backing this claim."),
            Column::string("Capacity", "capacity represents the actual resources of the underlying volume."),
            Column::string("Access Modes", "accessModes contains the actual access modes the volume backing the PVC has. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes-1"),
            Column::string("StorageClass", "StorageClass of the pvc"),
            Column::string("VolumeAttributesClass", "VolumeAttributesClass of the pvc"),
            Column::AGE,
            Column::string("VolumeMode", "volumeMode defines what type of volume is required by the claim. Value of Filesystem is implied when not included in claim spec.").wide(),
        ];
        COLUMNS
    }

    fn cells(&self, object: &PersistentVolumeClaim, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let bound = spec.volume_name.as_deref().is_some_and(|name| !name.is_empty());
        let storage = status.capacity.as_ref().and_then(|capacity| capacity.get("storage")).filter(|_| bound);
        let modes = if bound { cell::access_modes(status.access_modes.as_ref()) } else { String::new() };
        let deleted = object.metadata.deletion_timestamp.is_some();
        let phase = if deleted { "Terminating" } else { status.phase.as_deref().unwrap_or_default() };
        Some(vec![
            cell::name(&object.metadata),
            phase.into(),
            cell::text(&spec.volume_name),
            storage.map_or("", |amount| &amount.0).into(),
            modes.into(),
            cell::text(&spec.storage_class_name),
            cell::or(spec.volume_attributes_class_name.as_deref(), cell::UNSET).into(),
            cell::age(&object.metadata, now),
            cell::or(spec.volume_mode.as_deref(), cell::UNSET).into(),
        ])
    }

    fn validate(&self, new: &PersistentVolumeClaim, old: Option<&PersistentVolumeClaim>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path, ""));
            return errors;
        };
        validation::storage::claim(&mut errors, &path, spec);
        if let Some(old) = old {
            validation::storage::claim_change(&mut errors, new, old);
        }
        errors
    }

    fn validate_status(&self, new: &PersistentVolumeClaim, _old: &PersistentVolumeClaim) -> Errors {
        let mut errors = Errors::new();
        validation::storage::claim_status(&mut errors, new);
        errors
    }

    fn warnings(&self, new: &PersistentVolumeClaim, _old: Option<&PersistentVolumeClaim>) -> Vec<String> {
        const OLD: &str = "volume.beta.kubernetes.io/storage-class";
        let mut warnings = Vec::new();
        if new.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(OLD)) {
            let path = Path::new("metadata").child("annotations").key(OLD);
            warnings.push(format!("{path}: deprecated since v1.8; use \"storageClassName\" attribute instead"));
        }
        if let Some(spec) = &new.spec {
            validation::warnings::claim(&mut warnings, &Path::new("spec"), spec);
        }
        warnings
    }
}

/// The older field and its successor mirror each other where one alone is set. In the older one, other sources than
/// claims and snapshots were always ignored, and still are where no source was before (KEP-1495).
fn sources(new: &mut PersistentVolumeClaim, old: Option<&PersistentVolumeClaim>) {
    let Some(spec) = &mut new.spec else { return };
    let before = old.and_then(|old| old.spec.as_ref());
    let had = before.is_some_and(|spec| spec.data_source.is_some() || spec.data_source_ref.is_some());
    if !had && spec.data_source_ref.is_none() {
        spec.data_source.take_if(|source| !is_claim_or_snapshot(source));
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(TypedLocalObjectReference { api_group, kind, name }), None) => {
            let (api_group, kind, name) = (api_group.clone(), kind.clone(), name.clone());
            spec.data_source_ref = Some(TypedObjectReference { api_group, kind, name, namespace: None });
        }
        (None, Some(source)) if validation::text(&source.namespace).is_empty() => {
            let (api_group, kind, name) = (source.api_group.clone(), source.kind.clone(), source.name.clone());
            spec.data_source = Some(TypedLocalObjectReference { api_group, kind, name });
        }
        _ => {}
    }
}

fn is_claim_or_snapshot(source: &TypedLocalObjectReference) -> bool {
    let of = (validation::text(&source.api_group), source.kind.as_str());
    matches!(of, ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot"))
}
