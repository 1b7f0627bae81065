//! PersistentVolumeClaim: a request for storage.

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimStatus, TypedLocalObjectReference, TypedObjectReference,
};

use crate::server::kinds::defaults;
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

    fn default(&self, object: &mut PersistentVolumeClaim) {
        if let Some(status) = &mut object.status {
            defaults::text(&mut status.phase, "Pending");
            defaults::quantities(&mut status.capacity);
        }
        let Some(spec) = &mut object.spec else { return };
        defaults::claim_spec(spec);
        // The older field and its successor mirror each other where one alone is set.
        match (&spec.data_source, &spec.data_source_ref) {
            (Some(source), None) => {
                spec.data_source_ref = Some(TypedObjectReference {
                    api_group: source.api_group.clone(),
                    kind: source.kind.clone(),
                    name: source.name.clone(),
                    namespace: None,
                });
            }
            (None, Some(source)) if source.namespace.as_deref().is_none_or(str::is_empty) => {
                spec.data_source = Some(TypedLocalObjectReference {
                    api_group: source.api_group.clone(),
                    kind: source.kind.clone(),
                    name: source.name.clone(),
                });
            }
            _ => {}
        }
    }
}
