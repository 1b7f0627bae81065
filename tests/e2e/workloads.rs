//! Deployments and Services as a user sees them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Cluster, within};

pub const HELLO: &str = include_str!("../../manifests/examples/hello.yaml");

/// A pod that does nothing but be a client.
const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: client
    image: orch.local/whoami:latest
    args: ["whoami", "--port=9000"]
"#;

fn hello(cluster: &Cluster) {
    cluster.apply(HELLO);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
}

fn pods(cluster: &Cluster) -> BTreeSet<String> {
    let names = cluster.kubectl(&["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[*].metadata.name}"]);
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
    hello(&cluster);
    cluster.apply(CLIENT);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);

    let from_host = answered(&cluster, &format!("http://{}/", cluster_ip(&cluster)), 40);
    assert_eq!(from_host, pods(&cluster), "the ClusterIP reaches every pod");
    let by_node_port = answered(&cluster, &format!("http://{}:30080/", cluster.host.ip), 40);
    assert_eq!(by_node_port, pods(&cluster), "the NodePort reaches every pod");
    for name in ["hello", "hello.default", "hello.default.svc.cluster.local"] {
        let url = format!("http://{name}/");
        let answer = cluster.kubectl(&["exec", "client", "--", "/orch", "fetch", &url]);
        assert!(answer.starts_with("Hello from pod hello-"), "{name}: {answer}");
    }

    cluster.kubectl(&["scale", "deployment/hello", "--replicas=5"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert_eq!(pods(&cluster).len(), 5);
    cluster.kubectl(&["scale", "deployment/hello", "--replicas=1"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.replicas}=1", "deployment/hello", "--timeout=60s"]);
    cluster.kubectl(&["delete", "service", "hello"]);
    assert!(cluster.host.http(&format!("http://{}:30080/", cluster.host.ip)).is_some());
}

#[test]
fn a_rolling_update_loses_no_request_and_can_be_undone_needs_root() {
    let cluster = Cluster::start();
    hello(&cluster);
    let url = format!("http://{}/", cluster_ip(&cluster));
    cluster.host.http_soon(&url);
    // A hundred requests a second for as long as the update takes; curl's own rate limit paces them.
    let mut load = cluster.host.command("curl");
    load.args(["-s", "-f", "-m", "5", "--fail-early", "--rate", "100/s", "-o", "/dev/null", "-w", "%{http_code}\n"]);
    load.arg(format!("{url}?[1-3000]")).stdin(Stdio::null()).stdout(Stdio::piped());
    let load = load.spawn().expect("curl runs");

    let before = pods(&cluster);
    cluster.kubectl(&["set", "env", "deployment/hello", "VERSION=2"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    let after = pods(&cluster);
    cluster.kubectl(&["rollout", "undo", "deployment/hello"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=90s"]);
    let env = "jsonpath={.spec.template.spec.containers[0].env[*].name}";
    assert!(!cluster.kubectl(&["get", "deployment", "hello", "-o", env]).contains("VERSION"));
    assert!(after.len() >= 3 && !before.iter().all(|name| after.contains(name)));

    crate::support::run(Command::new("kill").args(["-INT", &load.id().to_string()]));
    let output = load.wait_with_output().expect("curl ends");
    let codes = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<_> = codes.lines().filter(|code| *code != "200" && *code != "000").collect();
    assert!(failed.is_empty() && codes.lines().count() > 50, "{} requests, failed: {failed:?}", codes.lines().count());
}

#[test]
fn what_dies_comes_back_and_readiness_gates_endpoints_needs_root() {
    let cluster = Cluster::start();
    hello(&cluster);
    let pod = pods(&cluster).into_iter().next().expect("a pod");
    let pid = "cat /proc/1/stat";
    drop(pid);

    let killed = Instant::now();
    // The first process of the container ends itself: the kubelet must start it anew.
    let _ = cluster.try_kubectl(&["exec", &pod, "--", "/orch", "kill-init"]);
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}=1";
    cluster.kubectl(&["wait", &format!("--for={restarts}"), &format!("pod/{pod}"), "--timeout=30s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=30s"]);
    within(killed, Duration::from_secs(15), "the restart of a container");

    cluster.kubectl(&["delete", "pod", &pod]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    assert!(!pods(&cluster).contains(&pod) && pods(&cluster).len() == 3);

    let unready = r#"{"spec":{"template":{"spec":{"containers":[{"name":"hello","readinessProbe":{"httpGet":{"path":"/nowhere","port":1}}}]}}}}"#;
    cluster.kubectl(&["scale", "deployment/hello", "--replicas=0"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.replicas}=0", "deployment/hello", "--timeout=60s"]);
    cluster.kubectl(&["patch", "deployment/hello", "-p", unready]);
    cluster.kubectl(&["scale", "deployment/hello", "--replicas=1"]);
    cluster.kubectl(&["wait", "--for=jsonpath={.status.unavailableReplicas}=1", "deployment/hello", "--timeout=60s"]);
    let running = "jsonpath={.status.phase}=Running";
    cluster.kubectl(&["wait", &format!("--for={running}"), "pod", "-l", "app=hello", "--timeout=60s"]);
    let ready = "jsonpath={.items[*].endpoints[*].conditions.ready}";
    let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=hello", "-o", ready];
    assert_eq!(cluster.kubectl(&slices), "false");
    assert!(cluster.host.http(&format!("http://{}/", cluster_ip(&cluster))).is_none());
}
