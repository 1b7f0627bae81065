//! Lease: who holds a role until when; node heartbeats. That a holder renews is no news to a disk; who holds it is.

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct Leases;

impl Strategy for Leases {
    type Kind = Lease;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, unconditional_update: false, ..Meta::namespaced::<Lease>("leases") }
    }

    fn drop_closed(&self, new: &mut Lease, old: Option<&Lease>) {
        closed::drop(closed::LEASE, new, old);
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut Lease) {
        object.spec.get_or_insert_default();
    }

    fn is_heartbeat(&self, new: &Lease, old: &Lease) -> bool {
        let mut renewed = old.clone();
        if let (Some(spec), Some(new)) = (&mut renewed.spec, &new.spec) {
            spec.renew_time.clone_from(&new.renew_time);
        }
        renewed.metadata.managed_fields.clone_from(&new.metadata.managed_fields);
        renewed == *new
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Holder",
                "holderIdentity contains the identity of the holder of a current lease. If Coordinated Leader Election is used, the holder identity must be equal to the elected LeaseCandidate.metadata.name field.",
            ),
            Column::AGE,
        ];
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
        // Upstream names the field twice.
        strategy(&mut errors, &path.child("strategy").child("strategy"), validation::text(&spec.strategy));
        if !validation::text(&spec.preferred_holder).is_empty() && validation::text(&spec.strategy).is_empty() {
            let detail = "may only be specified if `strategy` is defined";
            errors.push(Error::forbidden(&path.child("preferredHolder"), detail));
        }
        errors
    }
}

/// How the holder is elected: upstream's own way, or somebody's with a domain before it.
fn strategy(errors: &mut Errors, path: &Path, strategy: &str) {
    match strategy.split_once('/') {
        None if matches!(strategy, "" | "OldestEmulationVersion") => {}
        None => errors.push(Error::not_supported(path, strategy, &["OldestEmulationVersion"])),
        Some(_) => validation::named(errors, path, strategy, names::qualified_name(strategy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lease(holder: &str, renewed: &str) -> Lease {
        let spec = json!({"holderIdentity": holder, "renewTime": renewed, "leaseTransitions": 0});
        serde_json::from_value(json!({"metadata": {"name": "l", "resourceVersion": "7"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_renewal_is_a_heartbeat_and_a_new_holder_is_not() {
        let old = lease("a", "2026-01-01T00:00:00.000000Z");
        let renewed = lease("a", "2026-01-01T00:00:10.000000Z");
        assert!(Leases.is_heartbeat(&renewed, &old));
        assert!(!Leases.is_heartbeat(&lease("b", "2026-01-01T00:00:10.000000Z"), &old));
        let mut labelled = renewed;
        labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        assert!(!Leases.is_heartbeat(&labelled, &old));
    }
}
