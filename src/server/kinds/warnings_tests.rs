//! What is warned of, kind by kind.

use serde_json::{Value, json};

use super::table_tests::Sound;

const OS: &str = r#"beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#;

#[test]
fn templates_are_looked_at_in_every_workload() {
    let labels = json!({"app": "a"});
    let template = json!({
        "metadata": {"labels": labels},
        "spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"}, "restartPolicy": "Always",
            "containers": [{"name": "a", "image": "a"}],
        },
    });
    let spec = json!({"selector": {"matchLabels": labels}, "template": template});
    let job = json!({"template": template});
    let cases = [
        ("apps/v1", "Deployment", json!({"spec": spec}), "spec.template"),
        ("apps/v1", "ReplicaSet", json!({"spec": spec}), "spec.template"),
        ("apps/v1", "StatefulSet", json!({"spec": spec}), "spec.template"),
        ("apps/v1", "DaemonSet", json!({"spec": spec}), "spec.template"),
        ("batch/v1", "Job", json!({"spec": job}), "spec.template"),
        (
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}}}),
            "spec.jobTemplate.spec.template",
        ),
        ("v1", "ReplicationController", json!({"spec": {"selector": labels, "template": template}}), "spec.template"),
        ("v1", "PodTemplate", json!({"template": template}), "template"),
        ("v1", "Pod", template.clone(), ""),
    ];
    for (version, kind, object, path) in cases {
        let dot = if path.is_empty() { "" } else { "." };
        let sound = Sound::new(version, kind, object);
        assert_eq!(sound.warnings(json!({})), [format!("{path}{dot}spec.nodeSelector[{OS}")], "{kind}");
    }
}

#[test]
fn what_is_old_has_a_newer_name() {
    let os = r#"beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead"#;
    let old = [json!({"key": "beta.kubernetes.io/os", "operator": "In", "values": ["linux"]})];
    let volume = json!({
        "metadata": {"annotations": {"volume.beta.kubernetes.io/mount-options": "ro"}},
        "spec": {
            "persistentVolumeReclaimPolicy": "Recycle", "rbd": {"image": "i", "monitors": []},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": old}]}},
        },
    });
    let only = |text: String| vec![text];
    let cases: Vec<(&str, &str, Value, Vec<String>)> = vec![
        (
            "v1",
            "PersistentVolume",
            volume,
            vec![
                "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead".into(),
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".into(),
                format!("spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: {os}"),
                "spec.rbd: deprecated in v1.28, non-functional in v1.31+".into(),
            ],
        ),
        (
            "storage.k8s.io/v1",
            "StorageClass",
            json!({"provisioner": "a", "allowedTopologies": [{"matchLabelExpressions": [{"key": "beta.kubernetes.io/os", "values": ["linux"]}]}]}),
            only("allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.14; use \"kubernetes.io/os\" instead".into()),
        ),
        (
            "storage.k8s.io/v1",
            "CSIStorageCapacity",
            json!({"storageClassName": "a", "nodeTopology": {"matchLabels": {"beta.kubernetes.io/os": "linux"}}}),
            only(format!("nodeTopology.matchLabels[{OS}")),
        ),
        (
            "node.k8s.io/v1",
            "RuntimeClass",
            json!({"handler": "a", "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}),
            only("scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/os\" instead".into()),
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.1.1/16"]}}]}]}}),
            only("spec.egress[0].to[0].ipBlock.except[0]: CIDR value \"10.1.1.1/16\" is ambiguous in this context (should be \"10.1.0.0/16\" or \"10.1.1.1/32\"?)".into()),
        ),
        (
            "v1",
            "Secret",
            json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""}}),
            only("tls: failed to find any PEM data in certificate input".into()),
        ),
        (
            "v1",
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "2001:DB8::1"}]}]}),
            only("subsets[0].addresses[0].ip: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")".into()),
        ),
        (
            "v1",
            "Endpoints",
            json!({"metadata": {"labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}},
                "subsets": [{"addresses": [{"ip": "2001:DB8::1"}]}]}),
            vec![],
        ),
    ];
    for (version, kind, object, wanted) in cases {
        assert_eq!(Sound::new(version, kind, object).warnings(json!({})), wanted, "{kind}");
    }
}

#[test]
fn addresses_of_load_balancers_are_looked_at_in_statuses() {
    let points = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}, {"hostname": "a.b"}]}});
    let odd = "IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")";
    let cases = [("v1", "Service", ""), ("networking.k8s.io/v1", "Ingress", ".ip")];
    for (version, kind, field) in cases {
        let sound = Sound::new(version, kind, json!({"spec": {}}));
        let expected = format!("status.loadBalancer.ingress[1]{field}: {odd}");
        assert_eq!(sound.status_warnings(points.clone()), [expected], "{kind}");
    }
}
