//! Good and bad objects of many kinds: defaulted, prepared and validated as the pipeline would, by their type alone.

use serde_json::{Value, json};

use crate::api::field::Errors;
use crate::server::catalog::catalog;
use crate::server::validation::lines;

/// An object as it would be stored, and what is wrong with it.
pub(super) fn made(api_version: &str, kind: &str, fields: Value) -> (Value, Errors) {
    let (group, version) = crate::api::gvk::split_api_version(api_version).unwrap();
    let kind_of = catalog().find_kind(group, version, kind).unwrap_or_else(|| panic!("no {kind}"));
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    let mut object = kind_of.decode(object.to_string().as_bytes()).unwrap();
    kind_of.default(object.as_mut());
    kind_of.prepare_create(object.as_mut());
    let errors = kind_of.validate(object.as_ref(), None);
    (object.to_value(), errors)
}

#[test]
fn defaults_are_upstreams() {
    let cases = [
        ("v1", "Namespace", json!({}), "/spec/finalizers", json!(["kubernetes"])),
        ("v1", "Namespace", json!({}), "/metadata/labels", json!({"kubernetes.io/metadata.name": "x"})),
        ("v1", "Namespace", json!({}), "/status/phase", json!("Active")),
        ("v1", "Secret", json!({"stringData": {"a": "b"}}), "/data/a", json!("Yg==")),
        ("v1", "Secret", json!({}), "/type", json!("Opaque")),
        ("v1", "PersistentVolume", json!({"spec": {}}), "/spec/persistentVolumeReclaimPolicy", json!("Retain")),
        ("v1", "PersistentVolumeClaim", json!({"spec": {}}), "/spec/volumeMode", json!("Filesystem")),
        ("v1", "PersistentVolumeClaim", json!({"spec": {}}), "/status/phase", json!("Pending")),
        (
            "v1",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2000m"}}]}}),
            "/spec/limits/0/defaultRequest/cpu",
            json!("2"),
        ),
        ("apps/v1", "StatefulSet", json!({"spec": {}}), "/spec/updateStrategy/rollingUpdate/partition", json!(0)),
        ("apps/v1", "DaemonSet", json!({"spec": {}}), "/spec/updateStrategy/rollingUpdate/maxUnavailable", json!(1)),
        ("batch/v1", "CronJob", json!({"spec": {"schedule": "@daily"}}), "/spec/successfulJobsHistoryLimit", json!(3)),
        ("networking.k8s.io/v1", "NetworkPolicy", json!({"spec": {}}), "/spec/policyTypes", json!(["Ingress"])),
        ("storage.k8s.io/v1", "StorageClass", json!({}), "/volumeBindingMode", json!("Immediate")),
        ("scheduling.k8s.io/v1", "PriorityClass", json!({}), "/preemptionPolicy", json!("PreemptLowerPriority")),
        (
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": {"kind": "Role", "name": "r"}}),
            "/roleRef/apiGroup",
            json!("rbac.authorization.k8s.io"),
        ),
        ("autoscaling/v2", "HorizontalPodAutoscaler", json!({"spec": {}}), "/spec/minReplicas", json!(1)),
    ];
    for (api_version, kind, fields, pointer, expected) in cases {
        let (object, _) = made(api_version, kind, fields);
        assert_eq!(object.pointer(pointer), Some(&expected), "{kind} {pointer}");
    }
}

#[test]
fn good_objects_pass() {
    let cases = [
        ("v1", "ConfigMap", json!({"data": {"a.b-c_d": "x"}})),
        ("v1", "Node", json!({"spec": {"taints": [{"key": "a/b", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"}})),
        ("v1", "Endpoints", json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]})),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}}),
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"host": "*.a.b", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]}]}}),
        ),
        ("policy/v1", "PodDisruptionBudget", json!({"spec": {"minAvailable": "50%", "selector": {}}})),
        ("storage.k8s.io/v1", "StorageClass", json!({"provisioner": "a.b/c"})),
        ("coordination.k8s.io/v1", "Lease", json!({"spec": {"leaseDurationSeconds": 40}})),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
            json!({"webhooks": [{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"name": "s", "namespace": "n"}}}]}),
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({"metadata": {"name": "foos.a.b"}, "spec": {"group": "a.b", "scope": "Namespaced",
                "names": {"plural": "foos", "kind": "Foo"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
        ),
    ];
    for (api_version, kind, fields) in cases {
        let (_, errors) = made(api_version, kind, fields);
        assert_eq!(lines(&errors), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn bad_objects_are_refused() {
    let cases = [
        (
            "v1",
            "Node",
            json!({"spec": {"taints": [{"key": "a", "effect": "Push"}]}}),
            "metadata.taints[0].effect: Unsupported value: \"Push\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
        (
            "v1",
            "Endpoints",
            json!({"subsets": [{}]}),
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}),
            "spec.accessModes: Required value: at least 1 access mode is required",
        ),
        (
            "v1",
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}),
            "spec: Required value: must specify a volume type",
        ),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"http": {"paths": [
                {"path": "x", "pathType": "Exact", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
            "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"ingress": [{"from": [{}]}]}}),
            "spec.ingress[0].from[0]: Required value: must specify a peer",
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({"spec": {"minAvailable": "150%"}}),
            "spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%",
        ),
        ("storage.k8s.io/v1", "StorageClass", json!({}), "provisioner: Required value"),
        (
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"leaseDurationSeconds": 0}}),
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
        ),
        (
            "scheduling.k8s.io/v1",
            "PriorityClass",
            json!({"value": 2_000_000_000}),
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        ),
        (
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}}}}),
            "spec.schedule: Required value",
        ),
    ];
    for (api_version, kind, fields, expected) in cases {
        let (_, errors) = made(api_version, kind, fields);
        assert_eq!(lines(&errors), [expected], "{kind}");
    }
}
