//! Good and bad objects of storage.k8s.io.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

const GROUP: &str = "storage.k8s.io/v1";

#[test]
fn storage_classes() {
    let sound = Sound::new(GROUP, "StorageClass", json!({"provisioner": "a.b/c"}));
    let topology =
        |values: Value| json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": values}]}]});
    sound.accepts(&[
        json!({}),
        topology(json!(["a", "b"])),
        json!({"reclaimPolicy": "Retain"}),
        json!({"reclaimPolicy": ""}),
    ]);
    let term = |values: Value| topology(values)["allowedTopologies"][0].clone();
    let twice = json!({"allowedTopologies": [term(json!(["a", "b"])), term(json!(["b", "a"]))]});
    sound.refuses(&[
        (json!({"provisioner": ""}), "provisioner: Required value"),
        (
            json!({"reclaimPolicy": "Recycle"}),
            "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
        ),
        (
            json!({"volumeBindingMode": ""}),
            "volumeBindingMode: Unsupported value: \"\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
        ),
        (twice, "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""),
        (json!({"allowedTopologies": [{}]}), "allowedTopologies[0].matchLabelExpressions: Duplicate value: \"\""),
        (topology(json!([])), "allowedTopologies[0].matchLabelExpressions[0].values: Required value"),
        (
            topology(json!(["a", "a"])),
            "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
        ),
    ]);
    sound.changes(&[
        (json!({"allowVolumeExpansion": true}), &[]),
        (topology(json!([])), &["allowedTopologies[0].matchLabelExpressions[0].values: Required value"]),
        (json!({"parameters": {"a": "b"}}), &["parameters: Forbidden: updates to parameters are forbidden."]),
        (
            json!({"volumeBindingMode": "WaitForFirstConsumer"}),
            &["volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable"],
        ),
    ]);
    let default = json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    assert_eq!(sound.cells(default)[0], "x (default)");
}

#[test]
fn csi_drivers_and_nodes() {
    let drivers = Sound::new(GROUP, "CSIDriver", json!({"spec": {}}));
    drivers.refuses(&[
        (
            json!({"spec": {"fsGroupPolicy": "All"}}),
            "spec.fsGroupPolicy: Unsupported value: \"All\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
        ),
        (
            json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}}),
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
        ),
        (
            json!({"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 5}]}}),
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
        ),
    ]);
    drivers.refuses(&[(
        json!({"spec": {"serviceAccountTokenInSecrets": true}}),
        "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
    )]);
    drivers.accepts(&[json!({"spec": {"serviceAccountTokenInSecrets": true, "tokenRequests": [{"audience": "a"}]}})]);
    drivers.changes(&[
        (json!({"spec": {"podInfoOnMount": true}}), &[]),
        (
            json!({"spec": {"attachRequired": false}}),
            &["spec.attachedRequired: Invalid value: false: field is immutable"],
        ),
    ]);
    let driver = |id: &str, count: i32| json!({"name": "a.b", "nodeID": id, "allocatable": {"count": count}});
    let nodes = Sound::new(GROUP, "CSINode", json!({"spec": {"drivers": [driver("n", 1)]}}));
    nodes.accepts(&[json!({}), json!({"spec": {"drivers": []}})]);
    nodes.refuses(&[
        (
            json!({"spec": {"drivers": [driver("n", -1)]}}),
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"spec": {"drivers": [driver("n", 1), driver("m", 1)]}}),
            "spec.drivers[1].name: Duplicate value: \"a.b\"",
        ),
    ]);
    nodes.changes(&[
        (json!({"spec": {"drivers": [driver("n", 9)]}}), &[]),
        (
            json!({"spec": {"drivers": [driver("m", 1)]}}),
            &["spec.drivers: Invalid value: {\"Name\":\"a.b\",\"NodeID\":\"m\",\"TopologyKeys\":null,\"Allocatable\":null}: field is immutable"],
        ),
    ]);
}

#[test]
fn attachments_capacities_and_attributes() {
    let spec = json!({"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "pv"}});
    let attachments = Sound::new(GROUP, "VolumeAttachment", json!({"spec": spec}));
    attachments.accepts(&[json!({})]);
    attachments.refuses(&[(
        json!({"spec": {"source": {"persistentVolumeName": null}}}),
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
    )]);
    assert_eq!(attachments.create(json!({"spec": {"source": {"persistentVolumeName": ""}}})).len(), 2);
    let inline = |changes: Value| {
        let mut volume = json!({"accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.b", "volumeHandle": "h"}});
        json_patch::merge(&mut volume, &changes);
        json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": volume}}})
    };
    attachments.accepts(&[inline(json!({})), inline(json!({"persistentVolumeReclaimPolicy": "Retain"}))]);
    let at = "spec.source.inlineVolumeSpec";
    for (changes, why) in [
        (json!({"capacity": {"storage": "1"}}), "capacity: Forbidden: may not be specified"),
        (json!({"claimRef": {"name": "a"}}), "claimRef: Forbidden: may not be specified"),
        (json!({"storageClassName": "a"}), "storageClassName: Forbidden: may not be specified"),
        (
            json!({"persistentVolumeReclaimPolicy": "Delete"}),
            "persistentVolumeReclaimPolicy: Forbidden: may only be Retain",
        ),
        (json!({"volumeMode": "Block"}), "volumeMode: Forbidden: may not specify volumeMode other than Filesystem"),
    ] {
        let told = format!("{at}.{why} in the context of inline volumes");
        assert_eq!(attachments.create(inline(changes)), [told]);
    }
    let other = inline(json!({"csi": null, "nfs": {"server": "s", "path": "/p"}}));
    let told = format!("{at}.csi: Required value: has to be specified in the context of inline volumes");
    assert_eq!(attachments.create(other), [told]);
    assert_eq!(attachments.update(json!({}), json!({"spec": {"nodeName": "m"}})).0.len(), 1);
    let status = attachments.status(json!(null), json!({"attached": false, "attachError": {"errorCode": -1}}));
    assert_eq!(
        status,
        ["status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"]
    );
    let capacities = Sound::new(GROUP, "CSIStorageCapacity", json!({"storageClassName": "c", "capacity": "1Gi"}));
    capacities.accepts(&[json!({}), json!({"capacity": null})]);
    capacities.changes(&[
        (json!({"capacity": "2Gi"}), &[]),
        (json!({"capacity": "-1"}), &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"]),
        (json!({"storageClassName": "d"}), &["storageClassName: Invalid value: \"d\": field is immutable"]),
    ]);
    assert_eq!(capacities.stored(json!({"capacity": "2048Mi"}))["capacity"], "2Gi");
    let attributes = Sound::new(GROUP, "VolumeAttributesClass", json!({"driverName": "a.b", "parameters": {"a": "b"}}));
    attributes.accepts(&[json!({})]);
    attributes.refuses(&[
        (json!({"driverName": ""}), "driverName: Required value"),
        (json!({"parameters": null}), "parameters: Required value: must contain at least one key/value pair"),
    ]);
    attributes.changes(&[(
        json!({"parameters": {"a": "c"}}),
        &["parameters: Forbidden: updates to parameters are forbidden."],
    )]);
}
