//! ResourceClaim: a request for devices.

use k8s_openapi::api::resource::v1::ResourceClaim;
use serde_json::Value;

use super::{claim, status};
use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct ResourceClaims;

impl Strategy for ResourceClaims {
    type Kind = ResourceClaim;

    fn meta(&self) -> Meta {
        Meta {
            subresources: const { &[Subresource::status("ResourceClaim")] },
            status_only: true,
            ..Meta::namespaced::<ResourceClaim>("resourceclaims")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut ResourceClaim) {
        claim::complete(object.spec.devices.get_or_insert_default());
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("State", "A summary of the current state (allocated, pending, reserved, etc.)."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ResourceClaim, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let status = object.status.clone().unwrap_or_default();
        let mut states = Vec::new();
        if object.metadata.deletion_timestamp.is_some() {
            states.push("deleted");
        }
        if status.allocation.is_none() {
            states.push("pending");
        } else {
            states.push("allocated");
            if status.reserved_for.is_some_and(|users| !users.is_empty()) {
                states.push("reserved");
            }
        }
        Some(vec![cell::name(&object.metadata), states.join(",").into(), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &ResourceClaim, old: Option<&ResourceClaim>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        match (old, &new.spec.devices) {
            (Some(old), _) => validation::immutable(&mut errors, &path, &new.spec, &old.spec),
            (None, Some(devices)) => claim::claim(&mut errors, &path.child("devices"), devices),
            (None, None) => {}
        }
        errors
    }

    fn validate_status(&self, new: &ResourceClaim, old: &ResourceClaim) -> Errors {
        status::status(new, old)
    }
}
