//! Who becomes a node, and who does not.

use crate::support::{AgentNode, Cluster, Host, Lan, eventually, told};

/// The token with another secret.
fn forged(token: &str) -> String {
    let (id, _) = token.split_once('.').expect("a token");
    format!("{id}.0123456789abcdef")
}

/// The token, but of another cluster.
fn foreign(token: &str) -> String {
    let (_, token) = token.split_once("::").expect("a token with a hash");
    format!("K10{}::{token}", "0".repeat(64))
}

/// Waits until the cluster knows no more of this token, or that it is over.
fn expire(cluster: &Cluster, token: &str) {
    eventually("a token's end", || {
        let listed = told(&cluster.orch(&["token", "list"]));
        listed.lines().all(|line| !line.contains(token) || line.contains("<expired>"))
    });
}

#[test]
fn a_machine_joins_by_a_good_token_and_keeps_its_name_needs_root() {
    let lan = Lan::new();
    let cluster = Cluster::on(Host::on(&lan, 1), &["--disable-agent"]);
    let (good, short) = (cluster.token(&[]), cluster.token(&["--ttl=1s"]));
    let mut node = AgentNode::new(&cluster, Host::on(&lan, 2), "node-2");

    let refused = |node: &AgentNode, token: &str| node.refused(&[&format!("--token={token}")]);
    let said = node.refused(&[]);
    assert!(said.contains("this machine is no node yet: pass --token"), "{said}");
    let said = refused(&node, &foreign(&good));
    assert!(said.contains(&"0".repeat(64)) && said.contains("take the token of the cluster at this address"), "{said}");
    let said = refused(&node, &forged(&good));
    assert!(said.contains("the server does not accept the token") && said.contains("orch token create"), "{said}");
    expire(&cluster, &short);
    let said = refused(&node, &short);
    assert!(said.contains("the server does not accept the token"), "{said}");
    assert_eq!(cluster.kubectl(&["get", "nodes", "-o", "name"]), "", "nobody of these came in");

    node.start(&[&format!("--token={good}")]);
    cluster.ready("node-2");
    // Its kubelet's port has a certificate that the API server can verify.
    cluster.hello();
    cluster.kubectl(&["logs", "deployment/hello"]);
    // Once it is a node it needs no token.
    node.stop();
    node.start(&[]);
    eventually("the way to the restarted node", || cluster.try_kubectl(&["logs", "deployment/hello"]).status.success());

    // The token is good for others, but not for a name that is taken.
    let mut other = AgentNode::new(&cluster, Host::on(&lan, 3), "node-2");
    let said = refused(&other, &good);
    assert!(said.contains("\"node-2\" belongs to another machine's key"), "{said}");
    assert!(said.contains("kubectl delete node node-2"), "{said}");
    node.stop();
    cluster.kubectl(&["delete", "node", "node-2"]);
    cluster.kubectl(&["wait", "--for=delete", "configmap/node-2", "-n", "kube-node-lease", "--timeout=60s"]);
    other.start(&[&format!("--token={good}")]);
    cluster.ready("node-2");
    assert_eq!(cluster.field("node/node-2", "{.status.addresses[0].address}"), other.host.ip);
}
