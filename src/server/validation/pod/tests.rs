//! Good and bad pods, as tables: a change to a good pod and the errors it causes.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{create, update};
use crate::server::kinds::defaults;
use crate::server::validation::lines;

/// A good pod with `changes` applied by JSON pointer.
fn pod(changes: &[(&str, Value)]) -> Pod {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": {
            "containers": [{
                "name": "a", "image": "i", "ports": [{"containerPort": 80, "name": "http"}],
                "env": [{"name": "E", "value": "v"}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "livenessProbe": {"httpGet": {"port": 80}}, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}
            }],
            "volumes": [{"name": "v", "emptyDir": {}}]
        }
    });
    for (pointer, value) in changes {
        set(&mut object, pointer, value.clone());
    }
    let mut pod: Pod = serde_json::from_value(object).unwrap();
    defaults::pod::pod(&mut pod);
    pod
}

/// Writes a value where `pointer` says, making objects on the way.
fn set(object: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let mut at = object;
    for part in parent.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    match last.parse::<usize>() {
        Ok(index) => at[index] = value,
        Err(_) => at[last] = value,
    }
}

fn check(changes: &[(&str, Value)], expected: &[&str]) {
    assert_eq!(lines(&create(&pod(changes))), expected, "{changes:?}");
}

#[test]
fn a_good_pod_has_no_errors() {
    check(&[], &[]);
    check(
        &[(
            "/spec/initContainers",
            json!([{"name": "s", "image": "i", "restartPolicy": "Always",
        "readinessProbe": {"tcpSocket": {"port": 1}}}]),
        )],
        &[],
    );
}

#[test]
fn containers_are_checked() {
    let c = "spec.containers[0]";
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let cases = [
        ("/spec/containers", json!([]), "spec.containers: Required value".to_owned()),
        ("/spec/containers/0/name", json!("A"), format!("{c}.name: Invalid value: \"A\": {label}")),
        ("/spec/containers/0/image", json!(""), format!("{c}.image: Required value")),
        (
            "/spec/containers/0/imagePullPolicy",
            json!("Maybe"),
            format!(
                "{c}.imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\""
            ),
        ),
        (
            "/spec/containers/0/ports/0/containerPort",
            json!(70000),
            format!("{c}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ),
        (
            "/spec/containers/0/ports/0/protocol",
            json!("ICMP"),
            format!("{c}.ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\""),
        ),
        ("/spec/containers/0/env/0/name", json!(""), format!("{c}.env[0].name: Required value")),
        (
            "/spec/containers/0/env/0/valueFrom",
            json!({"fieldRef": {"fieldPath": "metadata.name"}}),
            format!("{c}.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"),
        ),
        ("/spec/containers/0/volumeMounts/0/name", json!("w"), format!("{c}.volumeMounts[0].name: Not found: \"w\"")),
        (
            "/spec/containers/0/volumeMounts/0/subPath",
            json!("../x"),
            format!("{c}.volumeMounts[0].subPath: Invalid value: \"../x\": must not contain '..'"),
        ),
        (
            "/spec/containers/0/resources/requests",
            json!({"memory": "2Gi"}),
            format!(
                "{c}.resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi"
            ),
        ),
        (
            "/spec/containers/0/resources/limits",
            json!({"gold": "1"}),
            format!("{c}.resources.limits[gold]: Invalid value: \"gold\": must be a standard resource for containers"),
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({}),
            format!("{c}.livenessProbe: Required value: must specify a handler type"),
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
            format!("{c}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        ),
        (
            "/spec/containers/0/livenessProbe/successThreshold",
            json!(2),
            format!("{c}.livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        ),
        (
            "/spec/containers/0/securityContext",
            json!({"runAsUser": -1}),
            format!("{c}.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"),
        ),
    ];
    for (pointer, value, expected) in cases {
        let errors = lines(&create(&pod(&[(pointer, value)])));
        assert_eq!(errors.first(), Some(&expected), "{pointer}");
    }
}

#[test]
fn names_are_unique_across_containers() {
    let two = json!([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]);
    check(&[("/spec/containers", two)], &["spec.containers[1].name: Duplicate value: \"a\""]);
    let init = json!([{"name": "a", "image": "i", "livenessProbe": {"tcpSocket": {"port": 1}}}]);
    check(
        &[("/spec/initContainers", init)],
        &[
            "spec.initContainers[0].name: Duplicate value: \"a\"",
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
    let ports = json!([{"name": "a", "image": "i", "ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]}]);
    check(&[("/spec/containers", ports)], &["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//9\""]);
}

#[test]
fn the_rest_of_the_spec_is_checked() {
    let cases = [
        (
            "/spec/restartPolicy",
            json!("Sometimes"),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            "/spec/volumes/0/hostPath",
            json!({"path": "/x"}),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "/spec/tolerations",
            json!([{"operator": "Equal", "value": "a"}]),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        (
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            "/spec/affinity",
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            "/spec/activeDeadlineSeconds",
            json!(0),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "/spec/dnsPolicy",
            json!("None"),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "/spec/hostAliases",
            json!([{"ip": "x", "hostnames": ["a"]}]),
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "/spec/ephemeralContainers",
            json!([{"name": "e", "image": "i"}]),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
    ];
    for (pointer, value, expected) in cases {
        check(&[(pointer, value)], &[expected]);
    }
}

#[test]
fn updates_may_change_images_and_little_else() {
    let old = pod(&[("/spec/tolerations", json!([{"key": "k", "operator": "Exists"}]))]);
    let new = |changes: &[(&str, Value)]| {
        let mut all = vec![("/spec/tolerations", json!([{"key": "k", "operator": "Exists"}]))];
        if let Some((_, extra)) = changes.iter().find(|(pointer, _)| *pointer == "/spec/tolerations/1") {
            all[0].1.as_array_mut().unwrap().push(extra.clone());
        }
        all.extend(changes.iter().filter(|(pointer, _)| *pointer != "/spec/tolerations/1").cloned());
        pod(&all)
    };
    let image = new(&[("/spec/containers/0/image", json!("j"))]);
    // The pull policy is defaulted from the image, so a client that reads and writes back keeps it.
    assert_eq!(lines(&update(&image, &old)), Vec::<String>::new());
    let more = new(&[("/spec/tolerations/1", json!({"key": "l", "operator": "Exists"}))]);
    assert_eq!(lines(&update(&more, &old)), Vec::<String>::new());
    let cases = [
        (
            ("/spec/containers/0/args", json!(["x"])),
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,",
        ),
        (("/spec/nodeName", json!("other")), "spec: Forbidden: pod updates may not change fields other than "),
        (
            ("/spec/tolerations", json!([])),
            "spec.tolerations[0]: Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ),
        (
            ("/spec/containers", json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}])),
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
    ];
    for (change, expected) in cases {
        let pointer = change.0;
        let errors = lines(&update(&new(&[change]), &old));
        assert!(errors.iter().any(|line| line.starts_with(expected)), "{pointer}: {errors:?}");
    }
}
