//! Good and bad pods, as tables: a change to a good pod and the errors it causes.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use serde_json::{Value, json};

use super::{create, resize, update, update_ephemeral_containers, update_status, warnings};
use crate::api::field::{Errors, Path};
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
            format!("{c}.volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'"),
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
            format!(
                "{c}.resources.limits[gold]: Invalid value: \"gold\": must be a standard resource type or fully qualified"
            ),
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
fn a_volume_of_two_types_is_none_that_could_be_mounted() {
    check(
        &[("/spec/volumes/0/hostPath", json!({"path": "/x"}))],
        &[
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ],
    );
}

#[test]
fn the_rest_of_the_spec_is_checked() {
    let cases = [
        (
            "/spec/restartPolicy",
            json!("Sometimes"),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
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
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
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

/// pointer, value → every error.
#[test]
fn parts_of_pods_are_checked_as_upstream_does() {
    let c = "spec.containers[0]";
    let cases: Vec<(&str, Value, Vec<String>)> = vec![
        (
            "/spec/containers/0/resources",
            json!({"limits": {"hugepages-2Mi": "3Mi"}}),
            vec![
                format!("{c}.resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"),
                format!("{c}.resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"),
                format!("{c}.resources: Forbidden: HugePages require cpu or memory"),
            ],
        ),
        (
            "/spec/containers/0/resources",
            json!({"claims": [{"name": "gpu"}]}),
            vec![format!("{c}.resources.claims[0]: Not found: \"gpu\": must be one of the names in pod.spec.resourceClaims which is empty")],
        ),
        (
            "/spec/resources",
            json!({"limits": {"ephemeral-storage": "1Gi"}}),
            vec![
                "spec.resources.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"hugepages-\", \"memory\"".to_owned(),
            ],
        ),
        (
            "/spec/containers/0/restartPolicyRules",
            json!([{"action": "Stop", "exitCodes": {"operator": "In", "values": [1]}}]),
            vec![
                format!("{c}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"),
                format!("{c}.restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\""),
            ],
        ),
        (
            "/spec/initContainers",
            json!([
                {"name": "s", "image": "i", "restartPolicy": "Always", "restartPolicyRules": [
                    {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}}
                ], "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]},
                {"name": "i", "image": "i", "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "Equals"}}],
                    "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]},
                {"name": "j", "image": "i", "restartPolicy": "Sometimes", "restartPolicyRules": [{"action": "Restart"}]}
            ]),
            vec![
                "spec.initContainers[1].restartPolicy: Required value: must specify restartPolicy when restart rules are used".to_owned(),
                "spec.initContainers[1].restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Equals\": supported values: \"In\", \"NotIn\"".to_owned(),
                "spec.initContainers[2].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"".to_owned(),
                "spec.initContainers[2].restartPolicyRules[0].exitCodes: Required value: must be specified".to_owned(),
                "spec.initContainers[1].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers".to_owned(),
            ],
        ),
        (
            "/spec/containers/0/lifecycle",
            json!({"stopSignal": "SIGTERM"}),
            vec![format!("{c}.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`")],
        ),
        (
            "/spec/containers/0/securityContext",
            json!({"procMount": "Unmasked", "seccompProfile": {"type": "Localhost", "localhostProfile": "/a"}}),
            vec![
                format!("{c}.securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"),
                format!("{c}.securityContext.seccompProfile.localhostProfile: Invalid value: \"/a\": must be a relative path"),
            ],
        ),
        (
            "/spec/containers/0/volumeMounts/0/recursiveReadOnly",
            json!("Enabled"),
            vec![format!("{c}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true")],
        ),
        (
            "/spec/volumes/0",
            json!({"name": "v", "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 300}}),
            vec![
                "spec.volumes[0].iscsi.iqn: Invalid value: \"x\": must be valid format starting with iqn, eui, or naa".to_owned(),
                "spec.volumes[0].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive".to_owned(),
                format!("{c}.volumeMounts[0].name: Not found: \"v\""),
            ],
        ),
        (
            "/spec/volumes/1",
            json!({"name": "p", "projected": {"sources": [
                {"configMap": {"name": "a", "items": [{"key": "k", "path": "x"}]}},
                {"secret": {"name": "b", "items": [{"key": "k", "path": "x"}]}}
            ]}}),
            vec!["spec.volumes[1].projected: Invalid value: \"b\": conflicting duplicate paths".to_owned()],
        ),
        (
            "/spec/os",
            json!({"name": "windows"}),
            vec![],
        ),
        (
            "/spec/os",
            json!({"name": "plan9"}),
            vec!["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"".to_owned()],
        ),
        (
            "/spec/hostUsers",
            json!(false),
            vec![],
        ),
        (
            "/spec/hostnameOverride",
            json!("a.b.c"),
            vec![],
        ),
        (
            "/metadata/annotations",
            json!({"controller.kubernetes.io/pod-deletion-cost": "+1", "container.apparmor.security.beta.kubernetes.io/z": "x"}),
            vec![
                "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer".to_owned(),
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/z]: Invalid value: \"z\": container not found".to_owned(),
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/z]: Invalid value: \"x\": invalid AppArmor profile name: \"x\"".to_owned(),
            ],
        ),
        (
            "/spec/affinity",
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z", "matchLabelKeys": ["a"]}]}}),
            vec!["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set".to_owned()],
        ),
        (
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 0}]),
            vec![
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero".to_owned(),
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway".to_owned(),
            ],
        ),
    ];
    for (pointer, value, expected) in cases {
        let mut changes = vec![(pointer, value)];
        if pointer == "/spec/volumes/1" {
            changes = vec![("/spec/volumes", json!([{"name": "v", "emptyDir": {}}, changes[0].1]))];
        }
        assert_eq!(lines(&create(&pod(&changes))), expected, "{changes:?}");
    }
}

#[test]
fn resizing_changes_compute_and_nothing_else() {
    let sized = |limits: Value| pod(&[("/spec/containers/0/resources", json!({"limits": limits}))]);
    let old = sized(json!({"cpu": "1", "memory": "1Gi"}));
    let cases = [
        (sized(json!({"cpu": "2", "memory": "512Mi"})), vec![]),
        (
            sized(json!({"cpu": "2"})),
            vec![
                "spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing",
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
            ],
        ),
        (
            sized(json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"})),
            vec!["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            pod(&[("/spec/containers/0/name", json!("other"))]),
            vec!["spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"],
        ),
    ];
    for (new, expected) in cases {
        assert_eq!(lines(&resize(&new, &old)), expected);
    }
    let init = |cpu: &str, policy: &str, image: &str| {
        let resources = json!({"requests": {"cpu": cpu}});
        let policy = json!([{"resourceName": "cpu", "restartPolicy": policy}]);
        pod(&[(
            "/spec/initContainers",
            json!([{"name": "i", "image": image, "resources": resources, "resizePolicy": policy}]),
        )])
    };
    let at = "spec.initContainers[0]: Forbidden:";
    let cases = [
        (init("2", "NotRequired", "i"), init("1", "NotRequired", "i"), vec![]),
        (
            init("2", "NotRequired", "j"),
            init("1", "NotRequired", "i"),
            vec![format!("{at} only cpu and memory resources for init or sidecar containers are mutable")],
        ),
        (
            init("2", "RestartContainer", "i"),
            init("1", "RestartContainer", "i"),
            vec![format!(
                "{at} non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
            )],
        ),
    ];
    for (new, old, expected) in cases {
        assert_eq!(lines(&resize(&new, &old)), expected);
    }
    let claiming = |cpu: &str| {
        pod(&[
            ("/spec/resourceClaims", json!([{"name": "g", "resourceClaimName": "g"}])),
            ("/spec/containers/0/resources", json!({"requests": {"cpu": cpu}, "claims": [{"name": "g"}]})),
        ])
    };
    let expected = ["spec: Forbidden: only cpu and memory resources are mutable"];
    assert_eq!(lines(&resize(&claiming("2"), &claiming("1"))), expected);
    let whole = |resources: Value| pod(&[("/spec/resources", resources)]);
    let old = whole(json!({"limits": {"cpu": "2", "memory": "2Gi"}}));
    let cases = [
        (whole(json!({"limits": {"cpu": "3", "memory": "2Gi"}, "requests": {"cpu": "3"}})), vec![]),
        (
            pod(&[]),
            vec![
                "spec: Invalid value: \"\": Pod QOS Class may not change as a result of resizing",
                "spec.resources: Forbidden: pod-level resources cannot be removed",
            ],
        ),
        (
            whole(json!({"limits": {"cpu": "2", "hugepages-2Mi": "2Mi", "memory": "2Gi"}})),
            vec!["spec: Forbidden: only cpu and memory resources are mutable at pod-level"],
        ),
    ];
    for (new, expected) in cases {
        assert_eq!(lines(&resize(&new, &old)), expected);
    }
}

/// pointer, value → every error.
#[test]
fn newer_fields_are_checked_as_upstream_does() {
    let key = |volume: &str| json!([{"name": "E", "valueFrom": {"fileKeyRef": {"volumeName": volume, "path": "f", "key": "K"}}}]);
    let certificate = |more: Value| {
        let mut source = json!({"signerName": "kubernetes.io/a", "keyType": "ED25519", "keyPath": "k"});
        source.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{"name": "v", "projected": {"sources": [{"podCertificate": source}]}}])
    };
    let spread = |selector: Value| json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["k"], "labelSelector": selector}]);
    let exists = json!({"key": "k", "operator": "Exists"});
    let at = "spec.volumes[0].projected.sources[0].podCertificate";
    let from = "spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName";
    let cases = [
        ("/spec/containers/0/env", key("v"), vec![]),
        ("/spec/containers/0/env", key("w"), vec![format!("{from}: Not found: \"w\"")]),
        ("/spec/volumes", certificate(json!({"maxExpirationSeconds": 3600})), vec![]),
        (
            "/spec/volumes",
            certificate(json!({"maxExpirationSeconds": 90000})),
            vec![
                format!("{at}.maxExpirationSeconds: Invalid value: 90000: if provided, maxExpirationSeconds must be <= 86400"),
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"".to_owned(),
            ],
        ),
        (
            "/spec/volumes",
            certificate(json!({"signerName": "a/b"})),
            vec![
                format!("{at}.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by dots"),
                "spec.containers[0].volumeMounts[0].name: Not found: \"v\"".to_owned(),
            ],
        ),
        ("/spec/topologySpreadConstraints", spread(json!({"matchLabels": {"k": "v"}})), vec![]),
        (
            "/spec/topologySpreadConstraints",
            spread(json!({"matchLabels": {"k": "v"}, "matchExpressions": [exists]})),
            vec![
                "spec.topologySpreadConstraints[0][0]: Invalid value: \"k\": exists in both matchLabelKeys and labelSelector".to_owned(),
            ],
        ),
        (
            "/spec/resources",
            json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "claims": []}),
            vec![
                "spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level".to_owned(),
                "spec.resources.requests: Invalid value: \"1\": must be less than or equal to cpu limit of 500m".to_owned(),
                "spec.resources.containers[0][cpu].limits: Invalid value: \"1\": must be less than or equal to pod limits of 500m".to_owned(),
            ],
        ),
        (
            "/spec/tolerations",
            json!([{"key": "k", "operator": "Gt", "value": "07"}, {"key": "k", "operator": "Lt", "value": "x"}]),
            vec![
                "spec.tolerations[0].operator: Unsupported value: \"Gt\": supported values: \"Equal\", \"Exists\"".to_owned(),
                "spec.tolerations[1].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\"".to_owned(),
            ],
        ),
        (
            "/spec/securityContext",
            json!({"seLinuxChangePolicy": "MountOption"}),
            vec!["spec.securityContext.seLinuxChangePolicy: Unsupported value: \"MountOption\": supported values: \"Recursive\"".to_owned()],
        ),
    ];
    for (pointer, value, expected) in cases {
        assert_eq!(lines(&create(&pod(&[(pointer, value.clone())]))), expected, "{value}");
    }
    check(
        &[("/spec/hostnameOverride", json!("a")), ("/spec/setHostnameAsFQDN", json!(true))],
        &["spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true"],
    );
    check(
        &[("/spec/hostUsers", json!(false)), ("/spec/hostPID", json!(true))],
        &["spec.HostPID: Forbidden: when `hostUsers` is false"],
    );
}

#[test]
fn what_was_there_before_may_stay() {
    let resized = json!([{"name": "i", "image": "i", "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}]);
    let mut spec = json!({
        "hostUsers": false, "hostNetwork": true, "securityContext": {"seLinuxChangePolicy": "MountOption"},
        "tolerations": [{"key": "k", "operator": "Gt", "value": "7"}], "initContainers": resized,
        "containers": [{"name": "a", "image": "i", "volumeDevices": [{"name": "v", "devicePath": "/d"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
    });
    let template = |spec: &Value| {
        let mut made: PodTemplateSpec = serde_json::from_value(json!({"spec": spec})).unwrap();
        crate::server::kinds::defaults::pod::template(&mut made);
        made
    };
    let judged = |new: &PodTemplateSpec, old: Option<&PodTemplateSpec>| {
        let mut errors = Errors::new();
        super::template(&mut errors, &Path::new("template"), new, old);
        lines(&errors)
    };
    let old = template(&spec);
    assert_eq!(
        judged(&old, None),
        [
            "template.spec.securityContext.seLinuxChangePolicy: Unsupported value: \"MountOption\": supported values: \"Recursive\"",
            "template.spec.hostNetwork: Forbidden: when `hostUsers` is false",
            "template.spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false",
            "template.spec.tolerations[0].operator: Unsupported value: \"Gt\": supported values: \"Equal\", \"Exists\"",
            "template.spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers",
        ]
    );
    spec["hostname"] = "h".into();
    spec["tolerations"][0]["value"] = "x".into();
    assert_eq!(
        judged(&template(&spec), Some(&old)),
        [
            "template.spec.tolerations[0].value: Invalid value: \"x\": must be a valid decimal integer in canonical form",
            "template.spec.tolerations[0].value: Invalid value: \"x\": strconv.ParseInt: parsing \"x\": invalid syntax",
        ]
    );
}

#[test]
fn ephemeral_containers_are_only_added() {
    let with = |list: Value| pod(&[("/spec/ephemeralContainers", list)]);
    let old = with(json!([{"name": "e", "image": "i"}]));
    let more = with(json!([{"name": "e", "image": "i"}, {"name": "f", "image": "i"}]));
    assert_eq!(lines(&update_ephemeral_containers(&more, &old)), Vec::<String>::new());
    let fewer = lines(&update_ephemeral_containers(&with(json!([])), &old));
    assert_eq!(
        fewer,
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n"]
    );
    let changed = lines(&update_ephemeral_containers(&with(json!([{"name": "e", "image": "j"}])), &old));
    let expected = "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be changed\n@@ -1,5 +1,5 @@\n {\n- \"Image\": \"i\",\n+ \"Image\": \"j\",\n  \"ImagePullPolicy\": \"Always\",\n  \"Name\": \"e\",\n  \"TerminationMessagePath\": \"/dev/termination-log\",\n";
    assert_eq!(changed, [expected]);
}

#[test]
fn statuses_are_checked() {
    let told = |status: Value| {
        let mut pod = pod(&[("/spec/restartPolicy", json!("Never"))]);
        pod.status = serde_json::from_value(status).unwrap();
        pod
    };
    let container = |state: Value| json!([{"name": "a", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
    let old =
        told(json!({"qosClass": "BestEffort", "containerStatuses": container(json!({"terminated": {"exitCode": 1}}))}));
    let new = told(json!({
        "conditions": [{"type": "", "status": "True", "observedGeneration": -1}], "qosClass": "Burstable", "containerStatuses": container(json!({"running": {}})),
        "extendedResourceClaimStatus": {"resourceClaimName": "", "requestMappings": [{"containerName": "a", "resourceName": "x/y", "requestName": "r"}]},
        "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "hostIP": "a", "hostIPs": [{"ip": "1.2.3.4"}]
    }));
    assert_eq!(
        lines(&update_status(&new, &old)),
        [
            "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
            "status.conditions[0].Type: Invalid value: \"\": name part must be non-empty",
            "status.conditions[0].Type: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "status.qosClass: Invalid value: \"Burstable\": field is immutable",
            "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state",
            "status.extendedResourceClaimStatus.requestMappings[0].resourceName: Invalid value: \"x/y\": must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests",
            "status.extendedResourceClaimStatus.resourceClaimName: Required value",
            "status.podIPs: Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
            "status.hostIPs[0].ip: Invalid value: \"1.2.3.4\": must be equal to `hostIP`",
        ]
    );
}

#[test]
fn typed_clients_may_write_back_without_empty_fields() {
    let old = pod(&[("/spec/hostNetwork", json!(false)), ("/spec/tolerations", json!([]))]);
    assert_eq!(lines(&update(&pod(&[]), &old)), Vec::<String>::new());
}

#[test]
fn what_is_surely_a_mistake_is_warned_of() {
    let object = pod(&[
        ("/spec/nodeSelector", json!({"beta.kubernetes.io/os": "linux"})),
        (
            "/spec/containers/0/env",
            json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}]),
        ),
        ("/spec/containers/0/ports", json!([{"containerPort": 80, "name": "b"}, {"containerPort": 80, "name": "b"}])),
        (
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
    ]);
    let given = warnings(&Path::root(), object.spec.as_ref().unwrap(), None);
    assert_eq!(
        given,
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[1]: duplicate port name \"b\" with spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]",
        ]
    );
}
