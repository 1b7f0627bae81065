//! The real kubectl, through the verbs people use, and what it says to bad input.

use crate::support::{Cluster, told};

/// What kubectl says when it is refused.
fn refused(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.try_kubectl(args);
    assert!(!output.status.success(), "kubectl {args:?} succeeded: {}", told(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn kubectl_works_as_on_any_cluster_needs_root() {
    let cluster = Cluster::start();
    let k = |args: &[&str]| cluster.kubectl(args);
    cluster.hello();

    let table = k(&["get", "deployments"]);
    assert!(
        table.starts_with("NAME    READY   UP-TO-DATE   AVAILABLE   AGE\nhello   3/3     3            3"),
        "{table}"
    );
    assert!(k(&["get", "pods", "-o", "wide"]).contains("node-1"));
    assert!(k(&["get", "nodes"]).contains("Ready"));
    assert!(k(&["get", "all"]).contains("service/hello"));
    assert!(k(&["describe", "deployment", "hello"]).contains("3 desired | 3 updated | 3 total | 3 available"));
    assert!(k(&["describe", "node", "node-1"]).contains("Kubelet Version:"));
    assert!(k(&["describe", "service", "hello"]).contains("Endpoints:"));
    assert!(k(&["api-resources"]).contains("deployments"));

    // An edit: what `kubectl edit` and `kubectl patch` send.
    k(&["patch", "deployment", "hello", "-p", r#"{"metadata":{"labels":{"a":"strategic"}}}"#]);
    k(&["patch", "deployment", "hello", "--type=merge", "-p", r#"{"metadata":{"labels":{"b":"merge"}}}"#]);
    let json = r#"[{"op":"add","path":"/metadata/labels/c","value":"json"}]"#;
    k(&["patch", "deployment", "hello", "--type=json", "-p", json]);
    k(&["label", "deployment", "hello", "d=label"]);
    k(&["annotate", "deployment", "hello", "note=yes"]);
    let labels = k(&["get", "deployment", "hello", "-o", "jsonpath={.metadata.labels}"]);
    for pair in [r#""a":"strategic""#, r#""b":"merge""#, r#""c":"json""#, r#""d":"label""#] {
        assert!(labels.contains(pair), "{labels}");
    }
    let applied = cluster.kubectl_with(&["apply", "-f", "-"], crate::support::HELLO);
    assert!(applied.contains("service/hello unchanged"), "{applied}");
    let ssa = cluster.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], crate::support::HELLO);
    assert!(ssa.contains("deployment.apps/hello serverside-applied"), "{ssa}");
    assert!(k(&["rollout", "history", "deployment/hello"]).contains("REVISION"));

    let pod = k(&["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[0].metadata.name}"]);
    k(&["logs", &pod]);
    k(&["delete", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/examples/hello.yaml")]);
    k(&["wait", "--for=delete", "pod", "-l", "app=hello", "--timeout=60s"]);
}

#[test]
fn logs_and_exec_stream_needs_root() {
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "echo one; echo two >&2; while [ ! -e /go ]; do sleep 0.1; done; echo three; exit 3"]
"#,
    );
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"]);
    assert_eq!(cluster.kubectl(&["exec", "talker", "--", "sh", "-c", "echo out; echo err >&2"]), "out\n");
    let status = cluster.try_kubectl(&["exec", "talker", "--", "sh", "-c", "exit 7"]);
    assert_eq!(status.status.code(), Some(7), "{}", told(&status));
    let echoed = cluster.kubectl_with(&["exec", "-i", "talker", "--", "cat"], "through and back");
    assert_eq!(echoed, "through and back");
    cluster.kubectl(&["exec", "talker", "--", "touch", "/go"]);
    // Follows to the container's end.
    let log = cluster.kubectl(&["logs", "-f", "talker"]);
    // Two pipes have no common order.
    let mut lines: Vec<_> = log.lines().collect();
    lines.sort_unstable();
    assert!(log.ends_with("three\n") && lines == ["one", "three", "two"], "{log}");
    assert_eq!(cluster.kubectl(&["logs", "talker", "--tail=1"]), "three\n");
    cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Failed", "pod/talker", "--timeout=30s"]);
    let code = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode} {.status.containerStatuses[0].state.terminated.reason}";
    assert_eq!(cluster.kubectl(&["get", "pod", "talker", "-o", code]), "3 Error");
}

#[test]
fn configuration_reaches_containers_needs_root() {
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(
        r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: green, greeting: "hello $(WHO)"}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {password: swordfish}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {tier: test}}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: first, image: "busybox:latest", imagePullPolicy: Never, command: [sh, -c, "echo ready >/shared/state"], volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "sleep 3600"]
    env:
    - {name: WHO, value: world}
    - {name: LINE, value: "$(WHO) $$(WHO) $(NOBODY)"}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: hidden, key: password}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    resources: {limits: {memory: 64Mi, cpu: 200m}}
    volumeMounts:
    - {name: shared, mountPath: /shared}
    - {name: settings, mountPath: /settings}
    - {name: hidden, mountPath: /hidden}
    - {name: info, mountPath: /info}
  volumes:
  - {name: shared, emptyDir: {}}
  - {name: settings, configMap: {name: settings}}
  - {name: hidden, secret: {secretName: hidden, defaultMode: 256}}
  - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
"#,
    );
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/reader", "--timeout=60s"]);
    let sh = |script: &str| cluster.kubectl(&["exec", "reader", "--", "sh", "-c", script]);
    let expected = "world $(WHO) $(NOBODY)|green|swordfish|reader|67108864";
    assert_eq!(sh("printf '%s|%s|%s|%s|%s' \"$LINE\" $COLOR $PASSWORD $POD $LIMIT"), expected);
    assert_eq!(
        sh("cat /shared/state /settings/color; cat /hidden/password /info/labels"),
        "ready\ngreenswordfishtier=\"test\""
    );
    assert_eq!(sh("stat -L -c %a /hidden/password"), "400\n");
    assert!(sh("env").contains("KUBERNETES_SERVICE_HOST=10.43.0.1"));
    assert!(sh("cat /etc/resolv.conf").contains("nameserver 10.43.0.10"));
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(sh(&format!("cat {token}/namespace")), "default");
    assert!(sh(&format!("head -c 3 {token}/token; head -1 {token}/ca.crt")).starts_with("eyJ-----BEGIN CERTIFICATE"));

    cluster.kubectl(&["patch", "configmap", "settings", "-p", r#"{"data":{"color":"blue"}}"#]);
    sh("until grep -q blue /settings/color; do sleep 0.1; done");
}

#[test]
fn bad_input_is_answered_as_upstream_does_needs_root() {
    let cluster = Cluster::start_with(&["--disable-agent"]);
    let missing = refused(&cluster, &["get", "pod", "nobody"]);
    assert_eq!(missing, "Error from server (NotFound): pods \"nobody\" not found\n");
    let unknown = refused(&cluster, &["get", "wombats"]);
    assert_eq!(unknown, "error: the server doesn't have a resource type \"wombats\"\n");
    let replicas = ["create", "deployment", "x", "--image=y", "--replicas=-1"];
    let negative = refused(&cluster, &replicas);
    assert!(negative.contains("must be greater than or equal to 0"), "{negative}");
    cluster.kubectl(&["create", "configmap", "twice"]);
    let twice = refused(&cluster, &["create", "configmap", "twice"]);
    assert_eq!(twice, "error: failed to create configmap: configmaps \"twice\" already exists\n");
    let name = refused(&cluster, &["create", "configmap", "Not_A_Name"]);
    assert!(name.contains("ConfigMap \"Not_A_Name\" is invalid: metadata.name: Invalid value: \"Not_A_Name\": a lowercase RFC 1123 subdomain"), "{name}");
}
