//! Fields behind closed gates: new objects lose them, objects that have them keep them.

use serde_json::{Value, json};

use super::table_tests::Sound;

/// What every row has in common: a kind, fields that make it sound, fields behind gates, and where they would be.
type Row = (&'static str, &'static str, Value, Value, Vec<&'static str>);

fn spec_of_pods() -> Value {
    json!({
        "restartPolicy": "Always", "schedulingGroup": {"podGroupName": "g"}, "os": {"name": "linux"},
        "containers": [{"name": "a", "image": "i", "lifecycle": {"stopSignal": "SIGINT"}}],
        "volumes": [{"name": "v", "projected": {"sources": [
            {"clusterTrustBundle": {"name": "b", "path": "b"}},
            {"podCertificate": {"signerName": "a.b/c", "keyType": "ED25519", "certificateChainPath": "c", "keyPath": "k"}},
        ]}}],
    })
}

const OF_PODS: [&str; 4] = [
    "schedulingGroup",
    "containers/0/lifecycle",
    "volumes/0/projected/sources/0/clusterTrustBundle",
    "volumes/0/projected/sources/1/podCertificate",
];

#[test]
fn pods_and_every_template_of_them() {
    let labels = json!({"app": "x"});
    let template = |spec: Value| json!({"metadata": {"labels": labels}, "spec": spec});
    let job = |mut spec: Value| {
        spec["restartPolicy"] = "Never".into();
        json!({"template": {"spec": spec}})
    };
    let workload = |spec: Value| json!({"spec": {"selector": {"matchLabels": labels}, "template": template(spec)}});
    type Wrap<'a> = &'a dyn Fn(Value) -> Value;
    let plain: Wrap = &|spec| json!({"spec": spec});
    let workload: Wrap = &workload;
    let cases: [(&str, &str, Wrap, &str); 9] = [
        ("v1", "Pod", plain, "/spec"),
        ("v1", "PodTemplate", &|spec| json!({"template": template(spec)}), "/template/spec"),
        (
            "v1",
            "ReplicationController",
            &|spec| json!({"spec": {"selector": labels, "template": template(spec)}}),
            "/spec/template/spec",
        ),
        ("apps/v1", "Deployment", workload, "/spec/template/spec"),
        ("apps/v1", "ReplicaSet", workload, "/spec/template/spec"),
        ("apps/v1", "DaemonSet", workload, "/spec/template/spec"),
        ("apps/v1", "StatefulSet", workload, "/spec/template/spec"),
        (
            "batch/v1",
            "Job",
            &|spec| {
                let mut job = job(spec);
                job["manualSelector"] = true.into();
                job["selector"] = json!({"matchLabels": labels});
                job["template"]["metadata"] = json!({"labels": labels});
                json!({"spec": job})
            },
            "/spec/template/spec",
        ),
        (
            "batch/v1",
            "CronJob",
            &|spec| json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": job(spec)}}}),
            "/spec/jobTemplate/spec/template/spec",
        ),
    ];
    for (version, kind, wrap, at) in cases {
        let sound = Sound::new(version, kind, wrap(spec_of_pods()));
        let (made, (problems, kept)) = (sound.stored(json!({})), sound.rewritten(json!({})));
        assert_eq!(problems, Vec::<String>::new(), "{kind}");
        for field in OF_PODS {
            let pointer = format!("{at}/{field}");
            assert_eq!(made.pointer(&pointer), None, "{kind}: {pointer}");
            assert!(kept.pointer(&pointer).is_some(), "{kind}: {pointer} in {kept}");
        }
    }
}

#[test]
fn the_other_kinds() {
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let rows: Vec<Row> = vec![
        (
            "v1",
            "PersistentVolumeClaim",
            claim,
            json!({"spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "b"}}}),
            vec!["/spec/dataSourceRef"],
        ),
        (
            "storage.k8s.io/v1",
            "CSIDriver",
            json!({}),
            json!({"spec": {"preventPodSchedulingIfMissing": true}}),
            vec!["/spec/preventPodSchedulingIfMissing"],
        ),
        (
            "coordination.k8s.io/v1",
            "Lease",
            json!({}),
            json!({"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "a"}}),
            vec!["/spec/strategy", "/spec/preferredHolder"],
        ),
        (
            "v1",
            "Node",
            json!({}),
            json!({"spec": {"configSource": {"configMap": {"name": "a", "namespace": "b", "kubeletConfigKey": "c"}}}, "status": {
                "config": {"error": "e"}}}),
            vec!["/spec/configSource", "/status/config"],
        ),
    ];
    for (version, kind, fields, gated, pointers) in rows {
        let sound = Sound::new(version, kind, fields);
        let (made, (problems, kept)) = (sound.stored(gated.clone()), sound.rewritten(gated));
        assert_eq!(problems, Vec::<String>::new(), "{kind}");
        for pointer in pointers {
            assert_eq!(made.pointer(pointer), None, "{kind}: {pointer}");
            assert!(kept.pointer(pointer).is_some(), "{kind}: {pointer} in {kept}");
        }
    }
}

#[test]
fn devices_and_statuses() {
    let device = json!({"name": "d", "attributes": {"a": {"ints": [1]}, "b": {"int": 1}}});
    let slice = Sound::new(
        "resource.k8s.io/v1",
        "ResourceSlice",
        json!({"spec": {"driver": "a.b", "nodeName": "n", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [device]}}),
    );
    let attributes = |object: &Value| object.pointer("/spec/devices/0/attributes").cloned().unwrap();
    assert_eq!(attributes(&slice.stored(json!({}))), json!({"a": {}, "b": {"int": 1}}));
    assert_eq!(attributes(&slice.rewritten(json!({})).1), json!({"a": {"ints": [1]}, "b": {"int": 1}}));

    let pod = Sound::new("v1", "Pod", json!({"spec": {"containers": [{"name": "a", "image": "i"}]}}));
    let mount = json!({"name": "v", "mountPath": "/v", "volumeStatus": {"image": {"imageRef": "r"}}});
    let container =
        json!({"name": "a", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "volumeMounts": [mount]});
    let reported = pod.reported(json!({}), json!({"containerStatuses": [container]}));
    assert_eq!(reported["status"]["containerStatuses"][0]["volumeMounts"], json!([{"name": "v", "mountPath": "/v"}]));
}

#[test]
fn a_stop_signal_leaves_the_rest_of_a_lifecycle() {
    let lifecycle = json!({"stopSignal": "SIGINT", "preStop": {"sleep": {"seconds": 1}}});
    let spec = json!({"containers": [{"name": "a", "image": "i", "lifecycle": lifecycle}]});
    let pod = Sound::new("v1", "Pod", json!({"spec": spec}));
    let made = pod.stored(json!({}));
    assert_eq!(made["spec"]["containers"][0]["lifecycle"], json!({"preStop": {"sleep": {"seconds": 1}}}));
}
