//! CSIDriver: what a storage driver can do.

use k8s_openapi::api::storage::v1::{CSIDriver, TokenRequest};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
use crate::server::kinds::defaults::{absent, absent_text};
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct CsiDrivers;

impl Strategy for CsiDrivers {
    type Kind = CSIDriver;

    fn meta(&self) -> Meta {
        Meta { generation: true, unconditional_update: false, ..Meta::cluster::<CSIDriver>("csidrivers") }
    }

    fn drop_closed(&self, new: &mut CSIDriver, old: Option<&CSIDriver>) {
        closed::drop(closed::CSI_DRIVER, new, old);
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut CSIDriver) {
        let spec = &mut object.spec;
        absent(&mut spec.attach_required, true);
        absent(&mut spec.pod_info_on_mount, false);
        absent(&mut spec.storage_capacity, false);
        absent(&mut spec.requires_republish, false);
        absent(&mut spec.se_linux_mount, false);
        absent_text(&mut spec.fs_group_policy, "ReadWriteOnceWithFSType");
        if spec.volume_lifecycle_modes.as_ref().is_none_or(Vec::is_empty) {
            spec.volume_lifecycle_modes = Some(vec!["Persistent".to_owned()]);
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column {
                kind: "boolean",
                ..Column::string(
                    "AttachRequired",
                    "attachRequired indicates this CSI volume driver requires an attach operation (because it implements the CSI ControllerPublishVolume() method), and that the Kubernetes attach detach controller should call the attach volume interface which checks the volumeattachment status and waits until the volume is attached before proceeding to mounting. The CSI external-attacher coordinates with CSI volume driver and updates the volumeattachment status when the attach operation is complete. If the value is specified to false, the attach operation will be skipped. Otherwise the attach operation will be called.\n\nThis field is immutable.",
                )
            },
            Column {
                kind: "boolean",
                ..Column::string(
                    "PodInfoOnMount",
                    "podInfoOnMount indicates this CSI volume driver requires additional pod information (like podName, podUID, etc.) during mount operations, if set to true. If set to false, pod information will not be passed on mount. Default is false.\n\nThe CSI driver specifies podInfoOnMount as part of driver deployment. If true, Kubelet will pass pod information as VolumeContext in the CSI NodePublishVolume() calls. The CSI driver is responsible for parsing and validating the information passed in as VolumeContext.\n\nThe following VolumeContext will be passed if podInfoOnMount is set to true. This list might grow, but the prefix will be used. \"csi.storage.k8s.io/pod.name\": pod.Name \"csi.storage.k8s.io/pod.namespace\": pod.Namespace \"csi.storage.k8s.io/pod.uid\": string(pod.UID) \"csi.storage.k8s.io/ephemeral\": \"true\" if the volume is an ephemeral inline volume\n                                defined by a CSIVolumeSource, otherwise \"false\"\n\n\"csi.storage.k8s.io/ephemeral\" is a new feature in Kubernetes 1.16. It is only required for drivers which support both the \"Persistent\" and \"Ephemeral\" VolumeLifecycleMode. Other drivers can leave pod info disabled and/or ignore this field. As Kubernetes 1.15 doesn't support this field, drivers can only support one mode when deployed on such a cluster and the deployment determines which mode that is, for example via a command line parameter of the driver.\n\nThis field was immutable in Kubernetes \\< 1.29 and now is mutable.",
                )
            },
            Column {
                kind: "boolean",
                ..Column::string(
                    "StorageCapacity",
                    "storageCapacity indicates that the CSI volume driver wants pod scheduling to consider the storage capacity that the driver deployment will report by creating CSIStorageCapacity objects with capacity information, if set to true.\n\nThe check can be enabled immediately when deploying a driver. In that case, provisioning new volumes with late binding will pause until the driver deployment has published some suitable CSIStorageCapacity object.\n\nAlternatively, the driver can be deployed with the field unset or false and it can be flipped later when storage capacity information has been published.\n\nThis field was immutable in Kubernetes \\<= 1.22 and now is mutable.",
                )
            },
            Column::string(
                "TokenRequests",
                "tokenRequests indicates the CSI driver needs pods' service account tokens it is mounting volume for to do necessary authentication. Kubelet will pass the tokens in VolumeContext in the CSI NodePublishVolume calls. The CSI driver should parse and validate the following VolumeContext: \"csi.storage.k8s.io/serviceAccount.tokens\": {\n  \"\\<audience\\>\": {\n    \"token\": \\<token\\>,\n    \"expirationTimestamp\": \\<expiration timestamp in RFC3339\\>,\n  },\n  ...\n}\n\nNote: Audience in each TokenRequest should be different and at most one token is empty string. To receive a new token after expiry, RequiresRepublish can be used to trigger NodePublishVolume periodically.",
            ),
            Column {
                kind: "boolean",
                ..Column::string(
                    "RequiresRepublish",
                    "requiresRepublish indicates the CSI driver wants `NodePublishVolume` being periodically called to reflect any possible change in the mounted volume. This field defaults to false.\n\nNote: After a successful initial NodePublishVolume call, subsequent calls to NodePublishVolume should only update the contents of the volume. New mount points will not be seen by a running container.",
                )
            },
            Column::string(
                "Modes",
                "volumeLifecycleModes defines what kind of volumes this CSI volume driver supports. The default if the list is empty is \"Persistent\", which is the usage defined by the CSI specification and implemented in Kubernetes via the usual PV/PVC mechanism.\n\nThe other mode is \"Ephemeral\". In this mode, volumes are defined inline inside the pod spec with CSIVolumeSource and their lifecycle is tied to the lifecycle of that pod. A driver has to be aware of this because it is only going to get a NodePublishVolume call for such a volume.\n\nFor more information about implementing this mode, see https://kubernetes-csi.github.io/docs/ephemeral-local-volumes.html A driver can support one or more of these modes and more modes may be added in the future.\n\nThis field is beta. This field is immutable.",
            ),
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
        if let Some(secret) = spec.service_account_token_in_secrets.filter(|_| requests.is_empty()) {
            let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.push(Error::invalid(&path.child("serviceAccountTokenInSecrets"), secret, detail));
        }
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
