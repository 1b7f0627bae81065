//! Deployments and Services as a user sees them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Cluster, eventually, run, within};

fn pods(cluster: &Cluster) -> BTreeSet<String> {
    let live = "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}} {{end}}{{end}}";
    let names = cluster.kubectl(&["get", "pods", "-l", "app=hello", "-o", live]);
    names.split_whitespace().map(str::to_owned).collect()
}

/// The pods that answered so many requests to `url`.
fn answered(cluster: &Cluster, url: &str, requests: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..requests {
        let answer = cluster.host.http_soon(url);
        names.extend(answer.split_whitespace().nth(3).map(str::to_owned));
    }
    names
}

fn cluster_ip(cluster: &Cluster) -> String {
    cluster.kubectl(&["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"])
}

#[test]
fn a_deployment_behind_a_service_answers_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    cluster.import_busybox();
    cluster.client();

    let from_host = answered(&cluster, &format!("http://{}/", cluster_ip(&cluster)), 40);
    assert_eq!(from_host, pods(&cluster), "the ClusterIP reaches every pod");
    let by_node_port = answered(&cluster, &format!("http://{}:30080/", cluster.host.ip), 40);
    assert_eq!(by_node_port, pods(&cluster), "the NodePort reaches every pod");
    for name in ["hello", "hello.default", "hello.default.svc.cluster.local"] {
        eventually(name, || cluster.answer_to("client", name).contains("Hello from pod hello-"));
    }

    cluster.kubectl(&["scale", "deployment/hello", "--replicas=5"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert_eq!(pods(&cluster).len(), 5);
    cluster.kubectl(&["scale", "deployment/hello", "--replicas=1"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.replicas}=1", "deployment/hello", "--timeout=60s"]);
    assert_eq!(pods(&cluster).len(), 1);
    assert_eq!(answered(&cluster, &format!("http://{}/", cluster_ip(&cluster)), 10), pods(&cluster));
}

#[test]
fn a_rolling_update_loses_no_request_and_can_be_undone_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    let url = format!("http://{}/", cluster_ip(&cluster));
    cluster.host.http_soon(&url);
    // Requests for as long as the update takes, at curl's own pace, each on a connection of its own.
    let mut load = cluster.host.command("curl");
    load.args(["-s", "-m", "5", "--no-keepalive", "-H", "Connection: close", "--rate", "50/s"]);
    // By its standard error, which it does not buffer: it is killed in the end.
    load.args(["-o", "/dev/null", "-w", "%{stderr}%{http_code}\n", &format!("{url}?[1-5000]")]);
    let load = load.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("curl runs");

    let before = pods(&cluster);
    cluster.kubectl(&["set", "env", "deployment/hello", "VERSION=2"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    let after = pods(&cluster);
    cluster.kubectl(&["rollout", "undo", "deployment/hello"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    let env = "jsonpath={.spec.template.spec.containers[0].env[*].name}";
    assert!(!cluster.kubectl(&["get", "deployment", "hello", "-o", env]).contains("VERSION"));
    assert!(before.is_disjoint(&after), "every pod was replaced: {before:?} {after:?}");

    // nsenter became curl, so that this is curl's own pid.
    run(Command::new("kill").arg(load.id().to_string()));
    let output = load.wait_with_output().expect("curl ends");
    let codes = String::from_utf8_lossy(&output.stderr);
    let failed = codes.lines().filter(|code| *code != "200").count();
    let all = codes.lines().count();
    assert!(failed == 0 && all > 50, "{failed} of {all} requests failed");
}

#[test]
fn what_dies_comes_back_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    let pod = pods(&cluster).into_iter().next().expect("a pod");

    let killed = Instant::now();
    run(Command::new("kill").args(["-9", &cluster.process_of(&pod).to_string()]));
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.kubectl(&["wait", &format!("--for={restarts}"), &format!("pod/{pod}"), "--timeout=30s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=30s"]);
    within(killed, Duration::from_secs(15), "the restart of a container");
    let reason = "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
    assert_eq!(cluster.kubectl(&["get", "pod", &pod, "-o", reason]), "137");

    cluster.kubectl(&["delete", "pod", &pod]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    let now = pods(&cluster);
    assert!(!now.contains(&pod) && now.len() == 3, "{now:?}");
}

#[test]
fn readiness_gates_endpoints_needs_root() {
    let cluster = Cluster::start();
    cluster.import_busybox();
    cluster.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: gated, labels: {app: gated}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "mkdir -p /www; echo hi >/www/index.html; exec httpd -f -p 80 -h /www"]
    readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: gated}
spec: {selector: {app: gated}, ports: [{port: 80}]}
"#,
    );
    cluster.kubectl(&["wait", "--for=jsonpath={.status.phase}=Running", "pod/gated", "--timeout=60s"]);
    let ready = "--for=jsonpath={.endpoints[0].conditions.ready}";
    let slice = |state: &str| {
        let wanted = format!("{ready}={state}");
        let selector = "kubernetes.io/service-name=gated";
        cluster.kubectl(&["wait", &wanted, "endpointslice", "-l", selector, "--timeout=30s"]);
    };
    let url = format!("http://{}/", cluster.kubectl(&["get", "service", "gated", "-o", "jsonpath={.spec.clusterIP}"]));
    slice("false");
    assert!(cluster.host.http(&url).is_none(), "nobody who is ready answers");
    cluster.kubectl(&["exec", "gated", "--", "touch", "/ready"]);
    slice("true");
    assert_eq!(cluster.host.http_soon(&url), "hi\n");
    cluster.kubectl(&["exec", "gated", "--", "rm", "/ready"]);
    slice("false");
    cluster.host.refused_soon(&url);
}
