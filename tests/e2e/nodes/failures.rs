//! Nodes that fail: one dies, one is cut off, both return; one is taken away.

use std::time::{Duration, Instant};

use super::{Pod, manifest};
use crate::support::{AgentNode, Cluster, Host, Lan, eventually, within};

/// Pods that are given up one second after their node is.
const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: web, image: "orch.local/whoami:latest"}]
"#;

/// Upstream's node-monitor-grace-period is 40 s since the last heartbeat; beside it the looks every five seconds.
const DECLARED_DEAD: Duration = Duration::from_secs(45);

fn web_nodes(cluster: &Cluster) -> Vec<String> {
    let nodes = cluster.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    let mut nodes: Vec<_> = nodes.split_whitespace().map(str::to_owned).collect();
    nodes.sort();
    nodes
}

#[test]
fn a_failed_nodes_pods_are_replaced_and_it_returns_needs_root() {
    let lan = Lan::new();
    let cluster = Cluster::on(Host::on(&lan, 1), &[]);
    let mut dying = AgentNode::join(&cluster, Host::on(&lan, 2), "node-2");
    let mut cut = AgentNode::join(&cluster, Host::on(&lan, 3), "node-3");
    dying.import_busybox();
    cut.import_busybox();
    cluster.kubectl(&["cordon", "node-1"]);
    cluster.apply(WEB);
    cluster.apply(&[manifest("b", "node-2"), manifest("c", "node-3")].concat());
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/b", "pod/c", "--timeout=60s"]);
    cluster.kubectl(&["uncordon", "node-1"]);
    assert_eq!(web_nodes(&cluster), ["node-2", "node-3"]);
    let before = cluster.containers(&["b", "c"]);

    let begun = Instant::now();
    dying.kill();
    cut.host.unplug();
    let unknown = ["wait", "--for=condition=Ready=Unknown", "node/node-2", "node/node-3", "--timeout=60s"];
    cluster.kubectl(&unknown);
    within(begun, DECLARED_DEAD, "telling that the nodes are gone");
    let there = |name| web_nodes(&cluster).iter().filter(|node| *node == name).count();
    // Until the pods are known to be lost, the old ones count as ready.
    eventually("the pods' replacement", || {
        there("node-1") == 2 && cluster.field("deployment/web", "{.status.readyReplicas}") == "2"
    });
    let c = Pod::of(&cluster, &cut, "c");
    assert!(cut.host.http(&c.url("name")).is_some(), "pods of a node that is cut off go on");

    dying.start(&[]);
    cut.host.plug();
    cluster.ready("node-2");
    cluster.ready("node-3");
    eventually("the end of the pods that were replaced", || web_nodes(&cluster) == ["node-1", "node-1"]);
    assert_eq!(cluster.containers(&["b", "c"]), before, "pods that stayed were adopted");
    let b = Pod::of(&cluster, &dying, "b");
    eventually("the way between the nodes", || b.reaches(&c) && c.reaches(&b));

    let (range, ip) = (cluster.field("node/node-3", "{.spec.podCIDR}"), cut.host.ip.clone());
    let ways = |host: &Host| {
        let shown = host.sh("ip route; bridge fdb show; ip neigh");
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let network = range.split('/').next().expect("a range");
        text.lines().filter(|line| line.contains(network) || line.contains(&format!("dst {ip} "))).count()
    };
    // A route, an FDB entry and a neighbour.
    assert_eq!((ways(&cluster.host), ways(&dying.host)), (3, 3));
    cut.stop();
    cluster.kubectl(&["delete", "node", "node-3"]);
    eventually("the end of the ways to the deleted node", || ways(&cluster.host) + ways(&dying.host) == 0);
}
