//! Services with real connections.

mod datagrams;
mod node;
mod policies;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use orch::agent::proxy::{ProxyConfig, ServiceProxy};
use orch::agent::services::Services;
use orch::lifecycle::Component;
use orch::net::nft::watch::Deletions;
use serde_json::{Value, json};

use crate::api::Api;
use crate::many::proxy_config;
use crate::support::{Host, Pod, ask, eventually, on_host, refused, run};

const NODE: [u8; 4] = [192, 0, 2, 1];
const OUTSIDE: [u8; 4] = [192, 0, 2, 7];
const IP: [u8; 4] = [10, 43, 0, 5];

/// A node with a running proxy, and an outside neighbour.
struct Node {
    host: Host,
    api: Api,
    proxy: ServiceProxy,
    outside: Pod,
}

async fn node(host: Host) -> Node {
    node_with(host, |_| {}).await
}

async fn node_with(host: Host, change: impl FnOnce(&mut ProxyConfig)) -> Node {
    orch::net::masquerade::allow_forwarding().unwrap();
    // The node's wire: nothing has a default route, as on an air-gapped host.
    let outside = host.neighbour("outside", NODE, OUTSIDE).await;
    let api = Api::default();
    let mut config = proxy_config(&api, &Services::watch(api.client(), None));
    change(&mut config);
    let mut proxy = ServiceProxy::new(config);
    proxy.start().await.unwrap();
    Node { host, api, proxy, outside }
}

impl Node {
    /// A pod at 10.42.0.`last` that answers with its name.
    async fn web(&self, name: &'static str, last: u8) -> Pod {
        let pod = self.host.pod(name, [10, 42, 0, last]).await;
        pod.serve(8080, name).await;
        pod
    }
}

fn web(extra: Value) -> Value {
    let mut spec = json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    spec
}

fn http() -> Value {
    json!([{"name": "http", "port": 8080}])
}

fn ready(pods: &[&Pod]) -> Value {
    pods.iter().map(|pod| json!({"addresses": [pod.address], "nodeName": "here"})).collect()
}

#[test]
fn a_service_is_reached_from_pods_host_and_outside_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let (a, b) = (node.web("a", 2).await, node.web("b", 3).await);
        let client = node.host.pod("client", [10, 42, 0, 4]).await;
        node.api.service("web", web(json!({})));
        drop(eventually(async || client.ask((IP, 80)).await, refused).await);
        assert!(refused(&ask((Ipv4Addr::from(IP), 80).into())), "no endpoints");
        assert!(refused(&node.outside.ask((NODE, 30080)).await));

        node.api.endpoints("web", http(), ready(&[&a]));
        let answer = eventually(async || client.ask((IP, 80)).await, Result::is_ok).await;
        assert_eq!(answer.unwrap(), "a to 10.42.0.4", "the endpoint sees the pod");
        assert_eq!(ask((Ipv4Addr::from(IP), 80).into()).unwrap(), "a to 192.0.2.1", "from the host");
        assert_eq!(ask((Ipv4Addr::from(NODE), 30080).into()).unwrap(), "a to 192.0.2.1", "node port from the host");
        assert_eq!(node.outside.ask((NODE, 30080)).await.unwrap(), "a to 192.0.2.1", "node port from outside");
        assert_eq!(a.ask((IP, 80)).await.unwrap(), "a to 192.0.2.1", "a pod through its own service");
        assert!(refused(&client.ask((IP, 81)).await), "another port");

        // A second slice, whose endpoint has another port.
        crate::support::serve(b.listen(9090).await, "b");
        node.api.slice("web-2", "web", json!([{"name": "http", "port": 9090}]), ready(&[&b]));
        let mut seen = BTreeSet::new();
        eventually(
            async || {
                seen.insert(client.ask((IP, 80)).await.unwrap());
                seen.len()
            },
            |count| *count == 2,
        )
        .await;
        node.api.delete("endpointslices", "web-2");
        // A process of the host itself as the endpoint: the host goes to itself through the Service.
        let own = std::net::TcpListener::bind((Ipv4Addr::from(NODE), 8080)).unwrap();
        crate::support::serve(own, "host");
        node.api.endpoints("web", http(), json!([{"addresses": ["192.0.2.1"], "nodeName": "here"}]));
        let answer = eventually(async || ask((Ipv4Addr::from(IP), 80).into()).unwrap(), |it| it.starts_with("host"));
        assert_eq!(answer.await, "host to 192.0.2.1");
        assert_eq!(client.ask((IP, 80)).await.unwrap(), "host to 10.42.0.4");
        assert!(refused(&ask(([127, 0, 0, 1], 30080).into())), "node ports are not on loopback");

        node.api.endpoints("web", http(), ready(&[]));
        drop(eventually(async || client.ask((IP, 80)).await, refused).await);
        node.api.delete("services", "web");
        node.proxy.stop().await;
    });
}

#[test]
fn a_change_too_large_to_be_heard_of_is_no_deletion_needs_root() {
    on_host(|host| async move {
        run("nft", "add table inet ours");
        run("nft", "add table inet marker");
        let listen = |table| Deletions::listen(table, 0).unwrap();
        let (mut ours, mut marker) = (listen("ours"), listen("marker"));
        let elements: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let set = format!(
            "add table inet other\nadd set inet other many {{ type mark; }}\nadd element inet other many {{ {} }}\n\
             delete table inet marker\n",
            elements.join(", ")
        );
        let file = host.path().join("flood");
        std::fs::write(&file, set).unwrap();
        run("nft", &format!("-f {}", file.display()));
        tokio::select! {
            biased;
            () = ours.next() => panic!("the table is there"),
            () = marker.next() => {}
        }
        run("nft", "delete table inet ours");
        ours.next().await;
    });
}

#[test]
fn a_table_that_somebody_deleted_comes_back_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let (a, client) = (node.web("a", 2).await, node.host.pod("client", [10, 42, 0, 4]).await);
        node.api.service("web", web(json!({})));
        node.api.endpoints("web", http(), ready(&[&a]));
        drop(eventually(async || client.ask((IP, 80)).await, Result::is_ok).await);
        run("nft", "flush ruleset");
        assert!(!run("nft", "list tables").contains("orch-svc"), "it takes a moment");
        eventually(async || run("nft", "list tables"), |tables| tables.contains("orch-svc")).await;
        assert!(client.ask((IP, 80)).await.is_ok());
        node.proxy.stop().await;
    });
}
