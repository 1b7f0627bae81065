//! Good and bad objects of the core group, new and changed, with everything that is wrong with them.

use serde_json::{Value, json};

use crate::server::catalog::catalog;
use crate::server::kinds::table_tests::Sound;
use crate::server::kinds::tests::made;
use crate::server::validation::lines;

/// What is wrong with an update, as the pipeline would make it.
fn changed(kind: &str, old: Value, new: Value) -> Vec<String> {
    let kind_of = catalog().find_kind("", "v1", kind).unwrap();
    let read = |fields: &Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
        for (name, value) in fields.as_object().unwrap() {
            object[name] = value.clone();
        }
        let mut object = kind_of.decode(object.to_string().as_bytes()).unwrap();
        kind_of.default(object.as_mut());
        object
    };
    let (mut new, old) = (read(&new), read(&old));
    kind_of.prepare_update(new.as_mut(), old.as_ref());
    lines(&kind_of.validate(new.as_ref(), Some(old.as_ref())))
}

#[test]
fn new_objects() {
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "Node",
            json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.1.0.0/24"], "taints": [
                {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}}),
            vec![
                "metadata.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"\",\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect pair",
                "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one CIDR for each IP family",
            ],
        ),
        ("Node", json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"]}}), vec![]),
        (
            "Node",
            json!({"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.0.0/24"]}}),
            vec![
                "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.0.0/24\"]: may specify no more than one CIDR for each IP family",
                "spec.podCIDRs[1]: Duplicate value: \"10.0.0.0/24\"",
            ],
        ),
        (
            "Node",
            json!({"metadata": {"name": "x", "annotations": {
                "scheduler.alpha.kubernetes.io/taints": "[{\"key\": \"a\", \"effect\": \"Never\"}]",
                "scheduler.alpha.kubernetes.io/preferAvoidPods":
                    "{\"preferAvoidPods\": [{}, {\"podSignature\": {\"podController\": {\"controller\": false}}}]}"}}}),
            vec![
                "metadata.annotations.scheduler.alpha.kubernetes.io/taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                "metadata.annotations.scheduler.alpha.kubernetes.io/preferAvoidPods[0].PodSignature: Required value",
                "metadata.annotations.scheduler.alpha.kubernetes.io/preferAvoidPods[1].PodSignature.PodController.Controller: Invalid value: false: must point to a controller",
            ],
        ),
        ("Node", json!({"status": {"declaredFeatures": ["A1", "B/c", "C"]}}), vec![]),
        (
            "Node",
            json!({"status": {"declaredFeatures": ["B", "a", "a"], "nodeInfo": {"swap": {"capacity": 0}}}}),
            vec![
                "metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero",
                "status.declaredFeatures[1]: Invalid value: \"a\": invalid feature name \"a\": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes",
                "status.declaredFeatures[2]: Duplicate value: \"a\"",
                "status.declaredFeatures[2]: Invalid value: \"a\": invalid feature name \"a\": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes",
            ],
        ),
        (
            "Node",
            json!({"status": {"capacity": {"pods": "1500m", "cpu": "-1"}}}),
            vec![
                "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
                "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                "status.allocatable.pods: Invalid value: \"1500m\": must be an integer",
            ],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"], "capacity": {"storage": "0"},
                "csi": {"driver": "A_", "volumeHandle": ""}, "nfs": {"server": "s", "path": "/"}}}),
            vec![
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
                "spec.csi: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "local": {"path": "/a"}}}),
            vec!["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/."},
                "persistentVolumeReclaimPolicy": "Recycle"}}),
            vec!["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
        ),
        (
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                "dataSourceRef": {"kind": "Snapshot", "name": "a"}}}),
            vec![
                "spec.dataSource: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                "spec.dataSourceRef: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            ],
        ),
        (
            "PersistentVolume",
            json!({}),
            vec![
                "spec.accessModes: Required value",
                "spec.capacity: Required value",
                "spec.capacity: Unsupported value: null: supported values: \"storage\"",
                "spec: Required value: must specify a volume type",
            ],
        ),
        (
            "PersistentVolume",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"},
                "flexVolume": {"driver": ""}, "vsphereVolume": {"volumePath": "a"}}}),
            vec![
                "spec.flexVolume.driver: Required value",
                "spec.vsphereVolume: Forbidden: may not specify more than 1 volume type",
            ],
        ),
        ("Service", json!({}), vec!["spec.ports: Required value"]),
        ("PodTemplate", json!({}), vec!["template.spec.containers: Required value"]),
        (
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "127.0.0.01", "hostname": "A_"}, {"ip": "x"}, {"ip": "10.0.0.01"}]}]}),
            vec![
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.01\": must not have leading 0s",
                "subsets[0].addresses[0].hostname: Invalid value: \"A_\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.01\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                "subsets[0].addresses[1].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "subsets[0].addresses[1].ip: Invalid value: \"x\": must be a valid IP address",
                "subsets[0].addresses[2].ip: Invalid value: \"10.0.0.01\": must not have leading 0s",
            ],
        ),
        (
            "ResourceQuota",
            json!({"spec": {"hard": {"cpu": "1"}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "BestEffort", "operator": "Exists"}, {"scopeName": "NotBestEffort", "operator": "Exists"}]}}}),
            vec![
                "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{\"ScopeName\":\"BestEffort\",\"Operator\":\"Exists\",\"Values\":null},{\"ScopeName\":\"NotBestEffort\",\"Operator\":\"Exists\",\"Values\":null}]}: unsupported scope applied to resource",
                "spec.scopeSelector.matchExpressions: Invalid value: null: conflicting scopes",
            ],
        ),
        (
            "LimitRange",
            json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}, {"type": "Disk"},
                {"type": "PersistentVolumeClaim"}]}}),
            vec![
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"1\": min value 2 is greater than default request value 1",
                "spec.limits[0].default[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
                "spec.limits[1].type: Invalid value: \"Disk\": must be a standard limit type or fully qualified",
                "spec.limits[2].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ],
        ),
        (
            "ResourceQuota",
            json!({"spec": {"hard": {"services": "1.5", "gold": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}}),
            vec![
                "spec.hard[gold]: Invalid value: \"gold\": must be a standard resource type or fully qualified",
                "spec.hard[gold]: Invalid value: \"gold\": must be a standard resource for quota",
                "spec.hard[services]: Invalid value: \"1500m\": must be an integer",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope applied to resource",
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ],
        ),
        (
            "ReplicationController",
            json!({"spec": {"replicas": -1}}),
            vec![
                "spec.selector: Required value",
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template: Required value",
            ],
        ),
        (
            "Event",
            json!({"metadata": {"name": "e", "namespace": "a"}, "involvedObject": {"namespace": "b"}}),
            vec!["involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"],
        ),
        (
            "Namespace",
            json!({"spec": {"finalizers": ["mine"]}}),
            vec![
                "spec.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
            ],
        ),
        (
            "ConfigMap",
            json!({"data": {"..a": "x"}}),
            vec!["data[..a]: Invalid value: \"..a\": must not start with '..'"],
        ),
    ];
    for (kind, fields, expected) in cases {
        assert_eq!(lines(&made("v1", kind, fields).1), expected, "{kind}");
    }
}

#[test]
fn changed_objects() {
    let claim = |size: &str, class: Value, status: Value| {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": size}}},
            "status": status})
    };
    let bound = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    let changes =
        "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let volume = |path: &str| json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": path}}});
    let near = |label: &str| {
        let mut near = volume("/a");
        let terms = json!([{"matchExpressions": [{"key": label, "operator": "Exists"}]}]);
        near["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": terms}});
        near
    };
    let cases: Vec<(&str, Value, Value, Vec<String>)> = vec![
        ("PersistentVolumeClaim", claim("1Gi", json!("a"), bound.clone()), claim("2Gi", json!("a"), json!({})), vec![]),
        (
            "PersistentVolumeClaim",
            claim("2Gi", json!("a"), bound.clone()),
            claim("1Gi", json!("a"), json!({})),
            vec!["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity".to_owned()],
        ),
        // A class may be given once.
        ("PersistentVolumeClaim", claim("1Gi", Value::Null, json!({})), claim("1Gi", json!("a"), json!({})), vec![]),
        (
            "PersistentVolumeClaim",
            claim("1Gi", json!("a"), json!({})),
            claim("1Gi", json!("b"), json!({})),
            vec![format!(
                "spec: Forbidden: {changes}\n@@ -7,6 +7,6 @@\n    \"storage\": \"1Gi\"\n   }}\n  }},\n- \"StorageClassName\": \"a\",\n+ \"StorageClassName\": \"b\",\n  \"VolumeMode\": \"Filesystem\"\n }}\n"
            )],
        ),
        (
            "PersistentVolume",
            volume("/a"),
            volume("/b"),
            vec!["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ -1,5 +1,5 @@\n {\n  \"HostPath\": {\n-  \"Path\": \"/a\"\n+  \"Path\": \"/b\"\n  }\n }\n".to_owned()],
        ),
        (
            "Node",
            json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "a"}}),
            json!({"spec": {"providerID": "b"}}),
            vec![
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid".to_owned(),
                "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid".to_owned(),
            ],
        ),
        (
            "Node",
            json!({"spec": {"podCIDRs": ["10.0.0.0/24", "fd00::/64"], "configSource": {"configMap": {}}},
                "status": {"config": {"active": {"configMap": {"name": "a", "namespace": "b", "kubeletConfigKey": "c"}}}}}),
            json!({"spec": {"podCIDRs": ["10.1.0.0/24", "fd01::/64"], "configSource": {"configMap": {"uid": "u"}}}}),
            vec![
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid".to_owned(),
                "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid".to_owned(),
                "spec.configSource.configMap.uid: Forbidden: uid must not be set in spec".to_owned(),
                "spec.configSource.configMap.namespace: Required value: namespace must be set".to_owned(),
                "spec.configSource.configMap.name: Required value: name must be set".to_owned(),
                "spec.configSource.configMap.kubeletConfigKey: Required value: kubeletConfigKey must be set".to_owned(),
                "status.config.active.configMap.uid: Required value: uid must be set in status".to_owned(),
                "status.config.active.configMap.resourceVersion: Required value: resourceVersion must be set in status".to_owned(),
            ],
        ),
        (
            "Secret",
            json!({"data": {"a": "YQ=="}, "immutable": true}),
            json!({"data": {}, "type": "x"}),
            vec![
                "type: Invalid value: \"x\": field is immutable".to_owned(),
                "immutable: Forbidden: field is immutable when `immutable` is set".to_owned(),
                "data: Forbidden: field is immutable when `immutable` is set".to_owned(),
            ],
        ),
        (
            "ResourceQuota",
            json!({"spec": {"scopes": ["BestEffort"]}}),
            json!({"spec": {}}),
            vec!["spec.scopes: Invalid value: null: field is immutable".to_owned()],
        ),
        ("PersistentVolume", near("failure-domain.beta.kubernetes.io/zone"), near("topology.kubernetes.io/zone"), vec![]),
        (
            "PersistentVolume",
            near("topology.kubernetes.io/zone"),
            near("failure-domain.beta.kubernetes.io/zone"),
            vec!["nodeAffinity: Invalid value: {\"Required\":{\"NodeSelectorTerms\":[{\"MatchExpressions\":[{\"Key\":\"failure-domain.beta.kubernetes.io/zone\",\"Operator\":\"Exists\",\"Values\":null}],\"MatchFields\":null}]}}: field is immutable, except for updating from beta label to GA".to_owned()],
        ),
        (
            "PersistentVolume",
            near("a"),
            volume("/a"),
            vec!["nodeAffinity: Invalid value: null: field is immutable, except for updating from beta label to GA".to_owned()],
        ),
    ];
    for (kind, old, new, expected) in cases {
        assert_eq!(changed(kind, old.clone(), new.clone()), expected, "{kind}: {old} -> {new}");
    }
}

#[test]
fn the_two_fields_for_the_source_of_a_claim_mirror_each_other() {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claims = Sound::new("v1", "PersistentVolumeClaim", json!({"spec": spec}));
    let source = |kind: &str| json!({"apiGroup": null, "kind": kind, "name": "a"});
    let sources = |claim: &Value| (claim["spec"]["dataSource"].clone(), claim["spec"]["dataSourceRef"].clone());
    let claim = source("PersistentVolumeClaim");
    for field in ["dataSource", "dataSourceRef"] {
        let made = claims.stored(json!({"spec": {field: claim}}));
        assert_eq!(sources(&made), (claim.clone(), claim.clone()), "{field}");
    }
    // The older field never took others, and an old client that writes back what it knows changes nothing.
    let other = json!({"spec": {"dataSource": source("Other")}});
    assert_eq!(sources(&claims.stored(other)), (Value::Null, Value::Null));
    let (problems, kept) =
        claims.update(json!({"spec": {"dataSourceRef": claim}}), json!({"spec": {"dataSource": claim}}));
    assert_eq!((problems, sources(&kept)), (vec![], (claim.clone(), claim)));
}

#[test]
fn a_volume_that_changes_its_phase_says_when() {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}});
    let volumes = Sound::new("v1", "PersistentVolume", json!({"spec": spec}));
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let told = |phase: &str, time: Value| json!({"phase": phase, "lastPhaseTransitionTime": time});
    let time = |old: Value, new: Value| volumes.reported(old, new)["status"]["lastPhaseTransitionTime"].clone();
    let bound = told("Bound", json!(early));
    assert_eq!(time(bound.clone(), told("Bound", Value::Null)), early);
    assert_eq!(time(bound.clone(), told("Released", json!(late))), late);
    let now = time(bound.clone(), told("Released", json!(early)));
    assert!(now != early && now.is_string(), "{now}");
    assert!(time(bound, told("Released", Value::Null)).is_string());
}

#[test]
fn sources_of_volumes_have_defaults() {
    let volume = |source: Value| {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}});
        json_patch::merge(&mut spec, &source);
        Sound::new("v1", "PersistentVolume", json!({"spec": spec})).stored(json!({}))["spec"].clone()
    };
    let cases = [
        (
            json!({"rbd": {"monitors": ["a"], "image": "b"}}),
            json!({"rbd": {"monitors": ["a"], "image": "b", "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}}),
        ),
        (
            json!({"iscsi": {"targetPortal": "a", "iqn": "iqn.2015-02.example.com:test", "lun": 0}}),
            json!({"iscsi": {"targetPortal": "a", "iqn": "iqn.2015-02.example.com:test", "lun": 0, "iscsiInterface": "default"}}),
        ),
        (
            json!({"azureDisk": {"diskName": "a", "diskURI": "b"}}),
            json!({"azureDisk": {"diskName": "a", "diskURI": "b", "cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared", "readOnly": false}}),
        ),
        (
            json!({"scaleIO": {"gateway": "a", "system": "b", "secretRef": {"name": "c"}}}),
            json!({"scaleIO": {"gateway": "a", "system": "b", "secretRef": {"name": "c"}, "storageMode": "ThinProvisioned", "fsType": "xfs"}}),
        ),
    ];
    for (source, expected) in cases {
        let (name, expected) = expected.as_object().unwrap().iter().next().unwrap();
        assert_eq!(&volume(source)[name], expected, "{name}");
    }
}
