//! Pods against the standards, with upstream's wording.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::{Value, json};

use super::policy::Version;
use super::*;

fn said(level: Level, version: Version, spec: Value) -> String {
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    detail(&check(Standard { level, version }, None, &spec))
}

fn one(container: Value) -> Value {
    let mut whole = json!({"name": "a"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    json!({"containers": [whole]})
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    assert_eq!(said(Level::Baseline, Version::Latest, one(json!({}))), "");
    assert_eq!(
        said(Level::Restricted, Version::Latest, one(json!({}))),
        "allowPrivilegeEscalation != false (container \"a\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"a\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"a\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
}

fn hardened() -> Value {
    let security = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let pod = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    with(one(json!({"securityContext": security})), "securityContext", pod)
}

#[test]
fn a_hardened_pod_is_restricted() {
    assert_eq!(said(Level::Restricted, Version::Latest, hardened()), "");
    let volumes = json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {"server": "s", "path": "/"}},
        {"name": "e", "emptyDir": {}}]);
    assert_eq!(
        said(Level::Restricted, Version::Latest, with(hardened(), "volumes", volumes)),
        "restricted volume types (volumes \"v\", \"w\" use restricted volume types \"hostPath\", \"nfs\")"
    );
    let root = json!({"runAsNonRoot": true, "runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(
        said(Level::Restricted, Version::Latest, with(hardened(), "securityContext", root)),
        "runAsUser=0 (pod must not set runAsUser=0)"
    );
}

#[test]
fn users_of_its_own_are_enough_for_baseline_only() {
    let unmasked = |host_users: bool| {
        let spec = with(hardened(), "hostUsers", json!(host_users));
        let mut container = spec["containers"][0].clone();
        container["securityContext"]["procMount"] = json!("Unmasked");
        with(spec, "containers", json!([container]))
    };
    let refused = "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")";
    let cases = [
        (Level::Baseline, Version::Latest, false, ""),
        (Level::Baseline, Version::Latest, true, refused),
        (Level::Baseline, Version::Minor(34), false, refused),
        (Level::Restricted, Version::Latest, false, refused),
        (Level::Restricted, Version::Minor(34), false, refused),
    ];
    for (level, version, host_users, expected) in cases {
        assert_eq!(said(level, version, unmasked(host_users)), expected, "{level:?} {version:?} {host_users}");
    }
}

#[test]
fn every_baseline_check_speaks() {
    let security = |value: Value| one(json!({"securityContext": value}));
    let pod = |value: Value| with(one(json!({})), "securityContext", value);
    let cases = [
        (with(one(json!({})), "hostNetwork", json!(true)), "host namespaces (hostNetwork=true)"),
        (
            security(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}})),
            "non-default capabilities (container \"a\" must not include \"NET_RAW\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            with(one(json!({})), "volumes", json!([{"name": "v", "hostPath": {"path": "/"}}])),
            "hostPath volumes (volume \"v\")",
        ),
        (
            one(json!({"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 443}]})),
            "hostPort (container \"a\" uses hostPorts 443, 80)",
        ),
        (
            one(json!({"livenessProbe": {"httpGet": {"port": 1, "host": "h"}}})),
            "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
        ),
        (
            security(json!({"privileged": true})),
            "privileged (container \"a\" must not set securityContext.privileged=true)",
        ),
        (
            security(json!({"procMount": "Unmasked"})),
            "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            pod(json!({"seLinuxOptions": {"type": "t", "user": "u"}})),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"t\"; user may not be set)",
        ),
        (
            security(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            pod(
                json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}),
            ),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            pod(json!({"windowsOptions": {"hostProcess": true}})),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            pod(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
    ];
    for (spec, why) in cases {
        assert_eq!(said(Level::Baseline, Version::Latest, spec.clone()), why, "{spec}");
    }
}

#[test]
fn a_version_has_the_checks_of_its_time() {
    let probe = one(json!({"livenessProbe": {"tcpSocket": {"port": 1, "host": "h"}}}));
    assert_eq!(said(Level::Baseline, Version::Minor(33), probe), "");
    assert!(!said(Level::Restricted, Version::Minor(21), one(json!({}))).contains("capabilities"));
    let windows = with(hardened(), "os", json!({"name": "windows"}));
    let windows = with(windows, "containers", json!([{"name": "a"}]));
    assert_eq!(said(Level::Restricted, Version::Minor(25), windows.clone()), "");
    assert!(said(Level::Restricted, Version::Minor(24), windows).contains("allowPrivilegeEscalation"));
    let users = with(hardened(), "securityContext", json!({"seccompProfile": {"type": "RuntimeDefault"}}));
    let users = with(users, "hostUsers", json!(false));
    assert_eq!(said(Level::Restricted, Version::Latest, users), "");
}

#[test]
fn existing_pods_are_counted_by_what_they_violate() {
    let pod = |name: &str, privileged: bool| -> Pod {
        let spec = one(json!({"securityContext": {"privileged": privileged}}));
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let pods = [pod("c", true), pod("b", true), pod("a", false), pod("d", true)];
    let standard = Standard { level: Level::Baseline, version: Version::Latest };
    assert_eq!(
        existing("n", standard, &pods),
        [
            "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "b (and 2 other pods): privileged",
        ]
    );
}
