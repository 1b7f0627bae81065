//! One network over all nodes.

use super::Pair;
use crate::support::{Host, eventually, require_root_and};

/// Asks the demo for so many answers, and gives the nodes that they came from.
fn nodes_behind(host: &Host, url: &str) -> Vec<String> {
    let answers = (0..20).map(|_| host.http_soon(url));
    let mut nodes: Vec<_> = answers.filter_map(|answer| answer.split_whitespace().last().map(str::to_owned)).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

#[test]
fn pods_of_two_nodes_are_on_one_network_needs_root() {
    require_root_and(&["ping"]);
    let pair = Pair::start(&[]);
    let (cluster, [a, b]) = (&pair.cluster, pair.pods());
    eventually("the way between the pods", || a.reaches(&b) && b.reaches(&a));
    for (from, to) in [(&a, &b), (&b, &a)] {
        assert_eq!(from.get(&to.url("large")).len(), 65536);
        let mtu = from.mtu();
        assert_eq!(mtu, 1450, "what VXLAN leaves of 1500");
        assert!(from.pings(to, mtu), "a packet as large as may be");
        assert!(!from.pings(to, mtu + 1), "a larger one");
    }

    // Three of it on each node.
    cluster.kubectl(&["cordon", "node-2"]);
    cluster.hello();
    cluster.kubectl(&["uncordon", "node-2"]);
    cluster.kubectl(&["cordon", "node-1"]);
    cluster.kubectl(&["scale", "deployment/hello", "--replicas=6"]);
    cluster.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    cluster.kubectl(&["uncordon", "node-1"]);
    let service = format!("http://{}/", cluster.field("service/hello", "{.spec.clusterIP}"));
    let both = ["node-1", "node-2"];
    for host in [&cluster.host, &pair.agent.host] {
        assert_eq!(nodes_behind(host, &service), both, "the Service from {}", host.ip);
    }
    for (pod, name) in [(&a, "a"), (&b, "b")] {
        assert!(pod.get(&service).starts_with(b"Hello from pod hello-"), "the Service from pod {name}");
        let full = "hello.default.svc.cluster.local";
        let answers = || cluster.answer_to(name, full).contains("Hello from pod hello-");
        eventually(&format!("the Service's name from pod {name}"), answers);
    }
    let outside = Host::on(&pair.lan, 9);
    for host in [&cluster.host, &pair.agent.host] {
        let url = format!("http://{}:30080/", host.ip);
        assert_eq!(nodes_behind(&outside, &url), both, "the NodePort at {}", host.ip);
    }
}
