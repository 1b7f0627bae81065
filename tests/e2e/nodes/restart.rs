//! A node that restarts while its server is away, and one that gets another address.

use std::process::Command;

use crate::support::{AgentNode, Cluster, Host, Lan, eventually, run};

/// A server without a node, and a node with the demo on it.
fn node_apart(lan: &Lan) -> (Cluster, AgentNode) {
    let cluster = Cluster::on(Host::on(lan, 1), &["--disable-agent"]);
    let node = AgentNode::join(&cluster, Host::on(lan, 2), "node-2");
    cluster.hello();
    node.host.http_soon(&format!("http://{}:30080/", node.host.ip));
    (cluster, node)
}

#[test]
fn a_node_restarts_without_its_server_and_catches_up_needs_root() {
    let lan = Lan::new();
    let (mut cluster, mut node) = node_apart(&lan);
    let url = format!("http://{}:30080/", node.host.ip);
    let names = cluster.kubectl(&["get", "pods", "-l", "app=hello", "-o", "jsonpath={.items[*].metadata.name}"]);
    let names: Vec<_> = names.split(' ').collect();
    let [crashing, deleted, _] = names[..] else { panic!("not three pods: {names:?}") };
    let process = cluster.process_of(crashing);

    cluster.kill();
    node.kill();
    node.start(&[]);
    // Names, and the rules of Services: somebody takes these away, and they are made anew from what is remembered.
    let asked = "busybox nslookup hello.default.svc.cluster.local 10.43.0.10";
    eventually("DNS without the server", || node.host.sh(asked).status.success());
    assert!(node.host.sh("nft delete table inet orch-svc").status.success());
    eventually("the rules of Services", || node.host.http(&url).is_some());
    // Its pods are cared for.
    run(Command::new("kill").args(["-9", &process.to_string()]));
    let found = format!("grep -qsz '^POD_NAME={crashing}$' /proc/[0-9]*/environ");
    eventually("another run of the container", || node.host.sh(&found).status.success());

    cluster.run_server();
    cluster.ready("node-2");
    let restarts = |pod: &str| cluster.field(&format!("pod/{pod}"), "{.status.containerStatuses[0].restartCount}");
    eventually("what happened meanwhile to be told", || restarts(crashing) == "1");
    assert_eq!(restarts(deleted), "0");
    cluster.kubectl(&["delete", "pod", deleted, "--timeout=60s"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
}

#[test]
fn a_node_that_gets_another_address_says_so_and_goes_on_needs_root() {
    let lan = Lan::new();
    let (cluster, node) = node_apart(&lan);
    let containers = "jsonpath={.items[*].status.containerStatuses[*].containerID}";
    let before = cluster.kubectl(&["get", "pods", "-o", containers]);

    node.host.ip("addr del 10.99.0.2/24 dev uplink");
    node.host.ip("addr add 10.99.0.22/24 dev uplink");
    node.host.ip("route add default via 10.99.0.254");
    let is = |object: &str, path: &str| eventually(object, || cluster.field(object, path) == "10.99.0.22");
    is("node/node-2", "{.status.addresses[0].address}");
    is("node/node-2", "{.metadata.annotations.flannel\\.alpha\\.coreos\\.com/public-ip}");
    is("pods", "{.items[0].status.hostIP}");
    // Its certificate names the new address: the server speaks to it there.
    eventually("the way to the node", || cluster.try_kubectl(&["logs", "deployment/hello"]).status.success());
    assert!(node.host.http("http://10.99.0.22:30080/").is_some());
    assert_eq!(cluster.kubectl(&["get", "pods", "-o", containers]), before, "pods go on");
}
