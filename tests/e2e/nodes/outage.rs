//! What goes on without the server.

use super::Pair;
use crate::support::{Host, eventually};

#[test]
fn nodes_do_not_need_the_server_to_go_on_needs_root() {
    let mut pair = Pair::start(&[]);
    pair.cluster.hello();
    let outside = Host::on(&pair.lan, 9);
    let urls = [&pair.cluster.host, &pair.agent.host].map(|host| format!("http://{}:30080/", host.ip));
    let before = pair.cluster.containers(&[]);

    pair.cluster.kill();
    for url in &urls {
        assert!(outside.http(url).is_some(), "{url} answers without the server");
    }
    pair.cluster.run_server();
    pair.cluster.node_ready();
    pair.cluster.ready("node-2");
    assert_eq!(pair.cluster.containers(&[]), before, "nothing was started anew");

    let cluster = &pair.cluster;
    eventually("the way to the agent", || cluster.try_kubectl(&["exec", "b", "--", "true"]).status.success());
    cluster.kubectl(&["create", "deployment", "later", "--image=orch.local/whoami:latest", "--replicas=4"]);
    cluster.kubectl(&["rollout", "status", "deployment/later", "--timeout=60s"]);
    let nodes = cluster.kubectl(&["get", "pods", "-l", "app=later", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    assert!(nodes.contains("node-1") && nodes.contains("node-2"), "{nodes}");
}
