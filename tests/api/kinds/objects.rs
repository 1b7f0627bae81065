//! The smallest valid object of every kind.

use orch::server::strategy::{Meta, Verb};
use serde_json::{Value, json};

/// A request for the certificate of somebody called x.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIRk1HNENBUUF3RERFS01BZ0dBMVVFQXd3QmVEQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQQpCTjI0M1daZDNjYW1qbGhCWU85dCtPMjNBeE9YTldKWlJQWU4yZUJ1L3pvTEYrTjlCWnpGaFVweFFKSk9id0xMCnQrOE45RENwbTNGWThOcERjV1pxS1J1Z0FEQUtCZ2dxaGtqT1BRUURBZ05IQURCRUFpQUdhWFFQUkNiMDhtUXAKakFHL2VKbU1hNFh2K0s3ano0a1dCQVZQSUFrMGJ3SWdQajYyaXZlSVkrTjF4aDNKNERmUEFEU1g3Sk1pQ0g2SQp6dlZ6QjUwS25POD0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

fn pod_spec() -> Value {
    json!({"containers": [{"name": "a", "image": "a:1"}]})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": pod_spec()})
}

fn ends() -> Value {
    json!({"spec": {"containers": [{"name": "a", "image": "a:1"}], "restartPolicy": "Never"}})
}

fn workload() -> Value {
    json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template()}})
}

fn pods_created() -> Value {
    json!({"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
    ]})
}

/// The name of the only object that a kind lets have a fixed form of name.
pub fn name(meta: &Meta) -> &'static str {
    match meta.plural {
        "customresourcedefinitions" => "widgets.example.com",
        "apiservices" => "v1.example.com",
        "ipaddresses" => "10.43.77.7",
        _ => "x",
    }
}

pub fn collection(meta: &Meta) -> String {
    let root =
        if meta.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/{}", meta.group, meta.version) };
    let place = if meta.namespaced { "/namespaces/default" } else { "" };
    format!("{root}{place}/{}", meta.plural)
}

/// Whether objects of the kind are kept.
pub fn is_stored(meta: &Meta) -> bool {
    meta.verbs.contains(&Verb::Create) && meta.verbs.contains(&Verb::Get)
}

pub fn minimal(meta: &Meta) -> Value {
    let mut object = fields(meta);
    object["apiVersion"] = meta.api_version().into();
    object["kind"] = meta.kind.into();
    object["metadata"] = json!({"name": name(meta)});
    object
}

fn fields(meta: &Meta) -> Value {
    match (meta.group, meta.plural) {
        ("", _) => core(meta.plural),
        ("admissionregistration.k8s.io", plural) => admission(plural),
        ("apps" | "batch", plural) => workloads(plural),
        ("storage.k8s.io" | "resource.k8s.io", plural) => storage(plural),
        (_, plural) => others(plural),
    }
}

fn core(plural: &str) -> Value {
    match plural {
        "events" => json!({"involvedObject": {"namespace": "default"}}),
        "limitranges" => json!({"spec": {"limits": []}}),
        "persistentvolumeclaims" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        }
        "persistentvolumes" => json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}}),
        "pods" => json!({"spec": pod_spec()}),
        "podtemplates" => json!({"template": template()}),
        "replicationcontrollers" => json!({"spec": {"selector": {"app": "x"}, "template": template()}}),
        "resourcequotas" => json!({"spec": {"hard": {"pods": "9"}}}),
        "services" => json!({"spec": {"ports": [{"port": 80}]}}),
        _ => json!({}),
    }
}

fn admission(plural: &str) -> Value {
    match plural {
        "mutatingadmissionpolicies" => json!({"spec": {
            "matchConstraints": pods_created(), "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]}}),
        "mutatingadmissionpolicybindings" => json!({"spec": {"policyName": "none"}}),
        "validatingadmissionpolicies" => {
            json!({"spec": {"matchConstraints": pods_created(), "validations": [{"expression": "true"}]}})
        }
        "validatingadmissionpolicybindings" => json!({"spec": {"policyName": "none", "validationActions": ["Deny"]}}),
        _ => json!({}),
    }
}

fn workloads(plural: &str) -> Value {
    match plural {
        "controllerrevisions" => json!({"revision": 1, "data": {}}),
        "statefulsets" => {
            let mut set = workload();
            set["spec"]["serviceName"] = "x".into();
            set
        }
        "cronjobs" => json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": ends()}}}}),
        "jobs" => json!({"spec": {"template": ends()}}),
        _ => workload(),
    }
}

fn storage(plural: &str) -> Value {
    match plural {
        "csinodes" => json!({"spec": {"drivers": []}}),
        "csistoragecapacities" => json!({"storageClassName": "x"}),
        "storageclasses" => json!({"provisioner": "example.com/x"}),
        "volumeattachments" => {
            json!({"spec": {"attacher": "x", "nodeName": "n", "source": {"persistentVolumeName": "v"}}})
        }
        "volumeattributesclasses" => json!({"driverName": "x", "parameters": {"a": "b"}}),
        "resourceclaimtemplates" => json!({"spec": {"spec": {}}}),
        "resourceslices" => json!({"spec": {
            "driver": "x.example.com", "nodeName": "n", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}}),
        _ => json!({"spec": {}}),
    }
}

fn others(plural: &str) -> Value {
    let role = |kind: &str| json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "view"}});
    match plural {
        "customresourcedefinitions" => json!({"spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
        "apiservices" => json!({"spec": {
            "group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "insecureSkipTLSVerify": true, "service": {"namespace": "default", "name": "x"}}}),
        "horizontalpodautoscalers" => json!({"spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
        "certificatesigningrequests" => json!({"spec": {
            "request": REQUEST, "signerName": "example.com/x", "usages": ["client auth"]}}),
        "endpointslices" => json!({"addressType": "IPv4", "endpoints": []}),
        "events" => json!({
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.com/x",
            "reportingInstance": "x", "action": "Act", "reason": "Reason", "type": "Normal",
            "regarding": {"namespace": "default"}}),
        "flowschemas" => {
            json!({"spec": {"matchingPrecedence": 100, "priorityLevelConfiguration": {"name": "global-default"}}})
        }
        "prioritylevelconfigurations" => json!({"spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}}),
        "ingressclasses" => json!({"spec": {"controller": "example.com/x"}}),
        "ingresses" => json!({"spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}}),
        "ipaddresses" => json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "x"}}}),
        "networkpolicies" => json!({"spec": {"podSelector": {}}}),
        "servicecidrs" => json!({"spec": {"cidrs": ["10.99.0.0/16"]}}),
        "runtimeclasses" => json!({"handler": "runc"}),
        "poddisruptionbudgets" => json!({"spec": {"minAvailable": 1}}),
        "clusterrolebindings" => role("ClusterRole"),
        "rolebindings" => role("ClusterRole"),
        "clusterroles" | "roles" => json!({"rules": []}),
        "priorityclasses" => json!({"value": 1}),
        _ => json!({"spec": {}}),
    }
}
