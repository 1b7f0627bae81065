//! Good and bad objects of the groups that have one kind.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

#[test]
fn leases() {
    let sound = Sound::new("coordination.k8s.io/v1", "Lease", json!({"spec": {}}));
    sound.accepts(&[json!({})]);
    sound.refuses(&[(
        json!({"spec": {"leaseDurationSeconds": 0}}),
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    )]);
    let rows = [
        (
            json!({"spec": {"preferredHolder": "a"}}),
            "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
        ),
        (
            json!({"spec": {"strategy": "Loudest"}}),
            "spec.strategy.strategy: Unsupported value: \"Loudest\": supported values: \"OldestEmulationVersion\"",
        ),
    ];
    for (patch, expected) in rows {
        assert_eq!(sound.rewritten(patch).0, [expected]);
    }
}

#[test]
fn runtime_classes() {
    let sound = Sound::new("node.k8s.io/v1", "RuntimeClass", json!({"handler": "runc"}));
    sound.accepts(&[json!({}), json!({"overhead": {"podFixed": {"cpu": "100m"}}})]);
    let tolerating = |tolerations: Value| json!({"scheduling": {"tolerations": tolerations}});
    let some = json!({"key": "a", "operator": "Exists"});
    sound.refuses(&[
        (
            json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
            "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            json!({"overhead": {"podFixed": {"pods": "1"}}}),
            "overhead.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
        ),
        (
            tolerating(json!([{"key": "a", "operator": "Exists", "value": "b"}])),
            "scheduling.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ),
        (
            tolerating(json!([some, some])),
            "scheduling.tolerations[1]: Duplicate value: {\"Key\":\"a\",\"Operator\":\"Exists\",\"Value\":\"\",\"Effect\":\"\",\"TolerationSeconds\":null}",
        ),
    ]);
    sound.changes(&[(json!({"handler": "kata"}), &["handler: Invalid value: \"kata\": field is immutable"])]);
}

#[test]
fn priority_classes() {
    let sound = Sound::new("scheduling.k8s.io/v1", "PriorityClass", json!({"value": 7}));
    sound.accepts(&[json!({}), json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000})]);
    let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: ";
    sound.refuses(&[
        (
            json!({"metadata": {"name": "system-mine"}}),
            &format!("{reserved}system-mine is not a known system priority class"),
        ),
        (
            json!({"metadata": {"name": "system-node-critical"}}),
            &format!("{reserved}value of system-node-critical PriorityClass must be 2000001000"),
        ),
        (json!({"preemptionPolicy": ""}), "preemptionPolicy: Required value"),
    ]);
    sound.changes(&[
        (json!({"description": "a"}), &[]),
        (json!({"value": 8}), &["value: Forbidden: may not be changed in an update."]),
        (json!({"value": 2_000_000_000}), &["value: Forbidden: may not be changed in an update."]),
        (json!({"preemptionPolicy": "Never"}), &["preemptionPolicy: Invalid value: \"Never\": field is immutable"]),
    ]);
}

#[test]
fn api_services() {
    let spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10});
    let local =
        Sound::new("apiregistration.k8s.io/v1", "APIService", json!({"metadata": {"name": "v1.a.b"}, "spec": spec}));
    let service = |service: serde_json::Value| json!({"spec": {"service": service}});
    local.accepts(&[json!({}), service(json!({"name": "s", "namespace": "n"}))]);
    local.refuses(&[
        (
            json!({"metadata": {"name": "v2.a.b"}}),
            "metadata.name: Invalid value: \"v2.a.b\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\"",
        ),
        (
            json!({"spec": {"insecureSkipTLSVerify": true}}),
            "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
        ),
        (service(json!({"name": "s"})), "spec.service.namespace: Required value"),
        (
            json!({"spec": {"versionPriority": 0}}),
            "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
        ),
    ]);
    assert_eq!(local.cells(service(json!({"name": "s", "namespace": "n"})))[1], "n/s");
}
