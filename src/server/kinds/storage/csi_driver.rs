//! CSIDriver: what a storage driver can do.

use k8s_openapi::api::storage::v1::{CSIDriver, TokenRequest};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults::{absent, text};
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct CsiDrivers;

impl Strategy for CsiDrivers {
    type Kind = CSIDriver;

    fn meta(&self) -> Meta {
        Meta { generation: true, unconditional_update: false, ..Meta::cluster::<CSIDriver>("csidrivers") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut CSIDriver) {
        let spec = &mut object.spec;
        absent(&mut spec.attach_required, true);
        absent(&mut spec.pod_info_on_mount, false);
        absent(&mut spec.storage_capacity, false);
        absent(&mut spec.requires_republish, false);
        absent(&mut spec.se_linux_mount, false);
        text(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column {
                kind: "boolean",
                ..Column::string("AttachRequired", "Whether volumes are attached before they are mounted.")
            },
            Column { kind: "boolean", ..Column::string("PodInfoOnMount", "Whether the driver is told about the pod.") },
            Column {
                kind: "boolean",
                ..Column::string("StorageCapacity", "Whether the driver publishes its capacity.")
            },
            Column::string("TokenRequests", "The audiences of the tokens that the driver gets."),
            Column {
                kind: "boolean",
                ..Column::string("RequiresRepublish", "Whether volumes are published again periodically.")
            },
            Column::string("Modes", "The kinds of volumes that the driver supports."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &CSIDriver, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = &object.spec;
        let tokens: Vec<_> = spec.token_requests.iter().flatten().map(|token| token.audience.clone()).collect();
        Some(vec![
            cell::name(&object.metadata),
            spec.attach_required.unwrap_or(true).into(),
            spec.pod_info_on_mount.unwrap_or(false).into(),
            spec.storage_capacity.unwrap_or(false).into(),
            if tokens.is_empty() { cell::UNSET.into() } else { tokens.join(",").into() },
            spec.requires_republish.unwrap_or(false).into(),
            cell::list(spec.volume_lifecycle_modes.as_deref().unwrap_or_default()).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &CSIDriver, old: Option<&CSIDriver>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = &new.spec;
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        validation::optional_one_of(&mut errors, &path.child("fsGroupPolicy"), &spec.fs_group_policy, &policies);
        let requests = spec.token_requests.as_deref().unwrap_or_default();
        token_requests(&mut errors, &path.child("tokenRequests"), requests);
        let modes = ["Persistent", "Ephemeral"];
        for mode in spec.volume_lifecycle_modes.iter().flatten().filter(|mode| !modes.contains(&mode.as_str())) {
            errors.push(Error::not_supported_in_order(&path.child("volumeLifecycleModes"), mode.as_str(), &modes));
        }
        if let Some(period) = spec.node_allocatable_update_period_seconds.filter(|period| *period < 10) {
            let detail = "must be greater than or equal to 10 seconds";
            errors.push(Error::invalid(&path.child("nodeAllocatableUpdatePeriodSeconds"), period, detail));
        }
        if let Some(before) = old.map(|old| &old.spec) {
            // The path is upstream's.
            let here = path.child("attachedRequired");
            validation::immutable(&mut errors, &here, &spec.attach_required, &before.attach_required);
            let (modes, before) = (&spec.volume_lifecycle_modes, &before.volume_lifecycle_modes);
            validation::immutable(&mut errors, &path.child("volumeLifecycleModes"), modes, before);
        }
        errors
    }
}

fn token_requests(errors: &mut Errors, path: &Path, requests: &[TokenRequest]) {
    const MIN: i64 = 600;
    const MAX: i64 = 1 << 32;
    for (at, request) in requests.iter().enumerate() {
        let path = path.index(at);
        if requests[..at].iter().any(|other| other.audience == request.audience) {
            errors.push(Error::duplicate(&path.child("audience"), request.audience.as_str()));
            continue;
        }
        let detail = match request.expiration_seconds {
            Some(seconds) if seconds < MIN => "may not specify a duration less than 10 minutes",
            Some(seconds) if seconds > MAX => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        let value = request.expiration_seconds.unwrap_or_default();
        errors.push(Error::invalid(&path.child("expirationSeconds"), value, detail));
    }
}
