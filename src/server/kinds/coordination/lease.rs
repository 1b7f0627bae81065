//! Lease: who holds a role until when; node heartbeats. Flushed lazily.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::store::Durability;

pub struct Leases;

impl Strategy for Leases {
    type Kind = Lease;

    fn meta(&self) -> Meta {
        Meta {
            create_on_update: true,
            unconditional_update: false,
            durability: Durability::Relaxed,
            ..Meta::namespaced::<Lease>("leases")
        }
    }

    crate::server::kinds::spec_only!();

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] =
            &[Column::NAME, Column::string("Holder", "The identity of the holder of the lease."), Column::AGE];
        COLUMNS
    }

    fn cells(&self, object: &Lease, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let holder = object.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        Some(vec![cell::name(&object.metadata), cell::text(&holder), cell::age(&object.metadata, now)])
    }

    fn validate(&self, new: &Lease, _old: Option<&Lease>) -> Errors {
        let mut errors = Errors::new();
        let Some(spec) = &new.spec else { return errors };
        let path = Path::new("spec");
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            let path = path.child("leaseDurationSeconds");
            errors.push(Error::invalid(&path, seconds, "must be greater than 0"));
        }
        if let Some(count) = spec.lease_transitions.filter(|count| *count < 0) {
            let path = path.child("leaseTransitions");
            errors.push(Error::invalid(&path, count, "must be greater than or equal to 0"));
        }
        errors
    }
}
