//! What a pod names (upstream's `VisitPodSecretNames` and its kin): what its node may read for it, what a mirror pod
//! may not name, which Secrets are in use. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, Pod};
use serde::Deserialize;
use serde_json::Value;

/// The annotation of pods that a node shows of its static ones.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// What can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    ServiceAccount,
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
}

/// The fields of a pod that name other objects; the rest is not even decoded.
#[derive(Default, Deserialize)]
pub struct PodView {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub node_name: Option<String>,
    service_account_name: Option<String>,
    image_pull_secrets: Vec<LocalObjectReference>,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
    volumes: Vec<Value>,
    resource_claims: Vec<Claim>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    env: Vec<EnvVar>,
    env_from: Vec<EnvFromSource>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    resource_claim_statuses: Vec<Claim>,
    extended_resource_claim_status: Option<Claim>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claim {
    resource_claim_name: Option<String>,
}

impl PodView {
    /// Of a pod that is decoded already.
    ///
    /// # Errors
    /// None that a pod could make.
    pub fn of(pod: &Pod) -> serde_json::Result<Self> {
        serde_json::from_value(serde_json::to_value(pod)?)
    }

    pub fn is_mirror(&self) -> bool {
        self.metadata.annotations.contains_key(MIRROR)
    }

    /// Whether it names anything of the kind.
    pub fn names(&self, kind: Kind) -> bool {
        let mut found = false;
        self.visit(|named, _| found |= named == kind);
        found
    }

    /// Shows everything that it names.
    pub fn visit(&self, mut see: impl FnMut(Kind, &str)) {
        let mut add = |kind, name: &str| {
            if !name.is_empty() {
                see(kind, name);
            }
        };
        let spec = &self.spec;
        add(Kind::ServiceAccount, spec.service_account_name.as_deref().unwrap_or_default());
        spec.image_pull_secrets.iter().for_each(|secret| add(Kind::Secret, &secret.name));
        let containers = spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers);
        for container in containers {
            environment(container, &mut add);
        }
        spec.volumes.iter().for_each(|source| volume(source, &self.metadata.name, &mut add));
        let status = &self.status;
        let claims = spec.resource_claims.iter().chain(&status.resource_claim_statuses);
        for claim in claims.chain(&status.extended_resource_claim_status) {
            add(Kind::ResourceClaim, claim.resource_claim_name.as_deref().unwrap_or_default());
        }
    }
}

fn environment(container: &Container, add: &mut impl FnMut(Kind, &str)) {
    for source in &container.env_from {
        source.secret_ref.iter().for_each(|reference| add(Kind::Secret, &reference.name));
        source.config_map_ref.iter().for_each(|reference| add(Kind::ConfigMap, &reference.name));
    }
    for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
        source.secret_key_ref.iter().for_each(|reference| add(Kind::Secret, &reference.name));
        source.config_map_key_ref.iter().for_each(|reference| add(Kind::ConfigMap, &reference.name));
    }
}

fn volume(volume: &Value, pod: &str, add: &mut impl FnMut(Kind, &str)) {
    let text = |path: &str| volume.pointer(path).and_then(Value::as_str).unwrap_or_default();
    add(Kind::Secret, text("/secret/secretName"));
    add(Kind::Secret, text("/azureFile/secretName"));
    for source in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
        add(Kind::Secret, text(&format!("/{source}/secretRef/name")));
    }
    add(Kind::Secret, text("/csi/nodePublishSecretRef/name"));
    add(Kind::ConfigMap, text("/configMap/name"));
    add(Kind::Claim, text("/persistentVolumeClaim/claimName"));
    if volume.get("ephemeral").is_some_and(Value::is_object) {
        add(Kind::Claim, &format!("{pod}-{}", text("/name")));
    }
    let projected = volume.pointer("/projected/sources").and_then(Value::as_array);
    for source in projected.into_iter().flatten() {
        let text = |path: &str| source.pointer(path).and_then(Value::as_str).unwrap_or_default();
        add(Kind::Secret, text("/secret/name"));
        add(Kind::ConfigMap, text("/configMap/name"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_that_names_an_object_is_seen() {
        let container = |from: &str| {
            json!({"name": "c", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": format!("{from}-env"), "key": "k"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": format!("{from}-env"), "key": "k"}}},
                {"name": "C", "value": "plain"},
            ], "envFrom": [{"secretRef": {"name": format!("{from}-all")}}, {"configMapRef": {"name": format!("{from}-all")}}]})
        };
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {
                "serviceAccountName": "bot",
                "imagePullSecrets": [{"name": "pull"}],
                "initContainers": [container("init")], "containers": [container("main")],
                "ephemeralContainers": [container("debug")],
                "volumes": [
                    {"name": "v1", "secret": {"secretName": "vol"}},
                    {"name": "v2", "configMap": {"name": "vol"}},
                    {"name": "v3", "projected": {"sources": [{"secret": {"name": "pro"}}, {"configMap": {"name": "pro"}}]}},
                    {"name": "v4", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "v5", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                    {"name": "v6", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
                    {"name": "v7", "iscsi": {"secretRef": {"name": "iscsi"}}},
                    {"name": "v8", "emptyDir": {}},
                    {"name": "v9", "azureFile": {"secretName": "azure", "shareName": "x"}},
                ],
                "resourceClaims": [{"name": "x", "resourceClaimName": "gpu"}],
            },
            "status": {"resourceClaimStatuses": [{"name": "y", "resourceClaimName": "made"}]},
        });
        let mut expected = Vec::new();
        for from in ["init", "main", "debug"] {
            expected.extend(["Secret", "ConfigMap"].map(|kind| format!("{kind} {from}-env")));
            expected.extend(["Secret", "ConfigMap"].map(|kind| format!("{kind} {from}-all")));
        }
        let rest = ["ServiceAccount bot", "Secret pull", "Secret vol", "ConfigMap vol", "Secret pro", "ConfigMap pro"];
        expected.extend(rest.map(str::to_owned));
        let rest = [
            "Claim data",
            "Claim p-v5",
            "Secret csi",
            "Secret iscsi",
            "Secret azure",
            "ResourceClaim gpu",
            "ResourceClaim made",
        ];
        expected.extend(rest.map(str::to_owned));
        let mut found = Vec::new();
        let pod = PodView::of(&serde_json::from_value(pod).unwrap()).unwrap();
        pod.visit(|kind, name| found.push(format!("{kind:?} {name}")));
        assert!(pod.names(Kind::Claim) && !PodView::default().names(Kind::Claim));
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
