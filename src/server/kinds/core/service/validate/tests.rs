//! Good and bad Services, and what updates keep.

use k8s_openapi::api::core::v1::Service;

use super::super::Services;
use crate::server::strategy::Strategy;
use crate::server::validation::lines;
use serde_json::{Value, json};

fn service(spec: Value) -> Service {
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec});
    let mut object: Service = serde_json::from_value(object).unwrap();
    Services.default(&mut object);
    Services.prepare_create(&mut object);
    object
}

#[test]
fn defaults_are_upstreams() {
    let spec = serde_json::to_value(service(json!({"ports": [{"port": 80}]})).spec).unwrap();
    let expected = json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    });
    assert_eq!(spec, expected);
    let spec = serde_json::to_value(service(json!({"type": "LoadBalancer", "ports": [{"port": 80}]})).spec).unwrap();
    assert_eq!(
        (&spec["externalTrafficPolicy"], &spec["allocateLoadBalancerNodePorts"]),
        (&json!("Cluster"), &json!(true))
    );
}

#[test]
fn bad_services_are_refused() {
    let cases = [
        (json!({"ports": [{"port": 80}]}), vec![]),
        (json!({"clusterIP": "None"}), vec![]),
        (json!({"type": "ExternalName", "externalName": "a.b"}), vec![]),
        (json!({}), vec!["spec.ports: Required value"]),
        (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value"]),
        (
            json!({"type": "X", "ports": [{"port": 80}]}),
            vec![
                "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            json!({"ports": [{"port": 1}, {"port": 1, "name": "b"}]}),
            vec![
                "spec.ports[0].name: Required value",
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":1,\"TargetPort\":0,\"NodePort\":0}",
            ],
        ),
        (
            json!({"ports": [{"port": 0, "targetPort": 5}]}),
            vec!["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            json!({"clusterIP": "None", "type": "NodePort", "ports": [{"port": 80}]}),
            vec!["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            json!({"clusterIPs": ["10.0.0.1"], "ports": [{"port": 80}]}),
            vec!["spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified"],
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"], "ipFamilies": ["IPv6"], "ports": [{"port": 80}]}),
            vec![
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
                "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ],
        ),
        (
            json!({"type": "ExternalName", "externalName": "a.b", "ipFamilyPolicy": "SingleStack"}),
            vec!["spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"],
        ),
        (
            json!({"ports": [{"port": 80}], "externalIPs": ["127.0.0.1"]}),
            vec![
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(lines(&Services.validate(&service(spec.clone()), None)), expected, "{spec}");
    }
}

#[test]
fn what_was_allocated_stays() {
    let old = service(json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}));
    let updated = |spec: Value| {
        let mut new = service(spec);
        Services.prepare_update(&mut new, &old);
        let errors = lines(&Services.validate(&new, Some(&old)));
        (new.spec.unwrap(), errors)
    };
    let (spec, errors) = updated(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    assert_eq!((errors.len(), spec.cluster_ip.as_deref()), (0, Some("10.0.0.1")));
    assert_eq!(spec.ports.unwrap()[0].node_port, Some(30080));
    let (spec, errors) = updated(json!({"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30080}]}));
    assert_eq!((errors.len(), spec.ports.unwrap()[0].node_port), (0, None));
    let (spec, errors) = updated(json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.0.0.1"}));
    assert_eq!((errors, spec.cluster_ip), (vec![], None));
    let mut before = old.clone();
    let spec = before.spec.as_mut().unwrap();
    spec.ip_families = Some(vec!["IPv4".to_owned()]);
    let mut new = before.clone();
    let spec = new.spec.as_mut().unwrap();
    (spec.type_, spec.external_name) = (Some("ExternalName".to_owned()), Some("a.b".to_owned()));
    (spec.cluster_ip, spec.cluster_ips) = (None, None);
    Services.prepare_update(&mut new, &before);
    assert_eq!(new.spec.unwrap().ip_families, None);
    let (_, errors) = updated(json!({"clusterIP": "10.0.0.2", "ports": [{"port": 80}]}));
    assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]);
}
