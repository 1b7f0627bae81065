//! Good and bad objects of apps.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}})
}

fn sound(kind: &str) -> Sound {
    Sound::new("apps/v1", kind, json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template()}}))
}

#[test]
fn daemon_sets() {
    let sets = sound("DaemonSet");
    sets.accepts(&[
        json!({}),
        json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxSurge": "20%", "maxUnavailable": 0}}}}),
    ]);
    sets.refuses(&[
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}}),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ),
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}}}),
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
        ),
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "x", "maxSurge": 1}}}}),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        (
            json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "99999999999999999999%"}}}}),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"99999999999999999999%\": must not be greater than 100%",
        ),
        (
            json!({"spec": {"updateStrategy": {"type": "Later"}}}),
            "spec.updateStrategy: Unsupported value: {\"RollingUpdate\":null,\"Type\":\"Later\"}: supported values: \"RollingUpdate\", \"OnDelete\"",
        ),
    ]);
}

#[test]
fn the_templates_of_daemon_sets_are_counted() {
    let sets = sound("DaemonSet");
    let pointer = "/metadata/annotations/deprecated.daemonset.template.generation";
    let generation = |object: &Value| object.pointer(pointer).cloned();
    assert_eq!(generation(&sets.stored(json!({}))), Some(json!("1")));
    let (_, same) = sets.update(json!({}), json!({"spec": {"minReadySeconds": 3}}));
    assert_eq!(generation(&same), Some(json!("1")));
    let (_, other) = sets.update(json!({}), json!({"spec": {"template": {"spec": {"hostNetwork": true}}}}));
    assert_eq!(generation(&other), Some(json!("2")));
}

#[test]
fn stateful_sets() {
    let sets = sound("StatefulSet");
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let mounts = json!([{"name": "a", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]);
    sets.accepts(&[
        json!({"spec": {"serviceName": "svc", "ordinals": {"start": 3}}}),
        json!({"spec": {"volumeClaimTemplates": [claim], "template": {"spec": {"containers": mounts}}}}),
        json!({"spec": {"revisionHistoryLimit": -1}}),
    ]);
    sets.refuses(&[
        (
            json!({"spec": {"podManagementPolicy": "Random"}}),
            "spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'",
        ),
        (
            json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"MaxUnavailable\":null,\"Partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        ),
        (
            json!({"spec": {"ordinals": {"start": -1}}}),
            "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Burn"}}}),
            "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \"Burn\": supported values: \"Retain\", \"Delete\"",
        ),
    ]);
    let several = json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}});
    assert_eq!(sets.stored(several)["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 0}));
    let fixed = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    sets.changes(&[
        (json!({"spec": {"replicas": 3, "minReadySeconds": 5}}), &[]),
        (json!({"spec": {"serviceName": "other"}}), &[fixed]),
    ]);
    assert_eq!(sets.warnings(json!({"spec": {"revisionHistoryLimit": -1}})).len(), 1);
}

#[test]
fn statuses_add_up() {
    let above = |field: &str| format!("status.{field}: Invalid value: 2: cannot be greater than status.replicas");
    let cases = [
        ("Deployment", json!({"replicas": 1, "updatedReplicas": 2}), vec![above("updatedReplicas")]),
        (
            "Deployment",
            json!({"readyReplicas": -1, "replicas": 0}),
            vec![
                "status.readyReplicas: Invalid value: -1: must be greater than or equal to 0".to_owned(),
                "status.availableReplicas: Invalid value: 0: cannot be greater than readyReplicas".to_owned(),
            ],
        ),
        (
            "ReplicaSet",
            json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 2}),
            vec!["status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas".to_owned()],
        ),
        (
            "StatefulSet",
            json!({"replicas": 1, "readyReplicas": 1, "currentReplicas": 2}),
            vec![above("currentReplicas")],
        ),
        (
            "DaemonSet",
            json!({"currentNumberScheduled": -1, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
            vec!["status.currentNumberScheduled: Invalid value: -1: must be greater than or equal to 0".to_owned()],
        ),
    ];
    for (kind, status, expected) in cases {
        assert_eq!(sound(kind).status(json!(null), status), expected, "{kind}");
    }
    let collided = sound("Deployment").status(json!({"collisionCount": 2}), json!({"collisionCount": 1}));
    assert_eq!(collided, ["status.collisionCount: Invalid value: 1: cannot be decremented"]);
}

#[test]
fn names_that_are_no_host_names_are_warned_of() {
    for kind in ["Deployment", "ReplicaSet"] {
        assert_eq!(sound(kind).warnings(json!({})), Vec::<String>::new());
        let warnings = sound(kind).warnings(json!({"metadata": {"name": "a.b"}}));
        let expected = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
        assert_eq!(warnings, [expected]);
    }
}

#[test]
fn controller_revisions() {
    let revisions = Sound::new("apps/v1", "ControllerRevision", json!({"revision": 1, "data": {"a": 1}}));
    revisions.refuses(&[
        (json!({"data": null}), "data: Required value: data is mandatory"),
        (json!({"data": [1]}), "data: Invalid value: \"<value omitted>\": must be a valid JSON object"),
        (json!({"data": "text"}), "data: Invalid value: \"<value omitted>\": must be a valid JSON object"),
        (json!({"revision": -1}), "revision: Invalid value: -1: must be greater than or equal to 0"),
    ]);
    revisions.changes(&[
        (json!({"revision": 2}), &[]),
        (json!({"data": {"a": 2}}), &["data: Invalid value: {\"a\":2}: field is immutable"]),
    ]);
}

#[test]
fn selectors_that_cannot_be_read_hide_their_templates() {
    let bad = json!({"spec": {"selector": {"matchLabels": null, "matchExpressions": [{"key": "app", "operator": "Near"}]},
        "template": {"spec": {"restartPolicy": "Never"}}}});
    let operator = "spec.selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator";
    let policy = "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"";
    let shown = r#"{"matchExpressions":[{"key":"app","operator":"Near"}]}"#;
    let unread = format!("spec.selector: Invalid value: {shown}: invalid label selector");
    let bare = format!("spec.selector: Invalid value: {shown}");
    let cases: [(&str, Vec<&str>); 4] = [
        ("Deployment", vec![operator, &unread]),
        ("ReplicaSet", vec![operator, &unread]),
        ("StatefulSet", vec![operator, &bare, policy]),
        ("DaemonSet", vec![operator, policy]),
    ];
    for (kind, expected) in cases {
        assert_eq!(sound(kind).create(bad.clone()), expected, "{kind}");
    }
    let absent = json!({"spec": {"selector": null}});
    let mismatch =
        "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`";
    assert_eq!(sound("DaemonSet").create(absent.clone()), [mismatch]);
    assert_eq!(sound("Deployment").create(absent), ["spec.selector: Required value", mismatch]);
}

#[test]
fn without_a_spec_everything_is_missing() {
    let mismatch = "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`";
    let containers = "spec.template.spec.containers: Required value";
    for kind in ["Deployment", "ReplicaSet", "StatefulSet"] {
        let expected = ["spec.selector: Required value", mismatch, containers];
        assert_eq!(sound(kind).create(json!({"spec": null})), expected, "{kind}");
    }
    assert_eq!(sound("DaemonSet").create(json!({"spec": null})), [mismatch, containers]);
    assert_eq!(sound("ReplicaSet").create(json!({"spec": {"template": null}})), [mismatch, containers]);
}
