//! Services with real connections.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use orch::agent::proxy::{ProxyConfig, ServiceProxy};
use orch::agent::services::Services;
use orch::lifecycle::Component;
use orch::net::netns;
use serde_json::{Value, json};

use crate::api::Api;
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
    orch::net::masquerade::allow_forwarding().unwrap();
    // The node's wire: nothing has a default route, as on an air-gapped host.
    let outside = host.neighbour("outside", NODE, OUTSIDE).await;
    let api = Api::default();
    let mut proxy = ServiceProxy::new(ProxyConfig {
        services: Services::watch(api.client()),
        node_name: "here".to_owned(),
        node_ip: NODE.into(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_dns: None,
        table_prefix: "orch".to_owned(),
    });
    proxy.start().await.unwrap();
    Node { host, api, proxy, outside }
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
        let a = node.host.pod("a", [10, 42, 0, 2]).await;
        let b = node.host.pod("b", [10, 42, 0, 3]).await;
        let client = node.host.pod("client", [10, 42, 0, 4]).await;
        a.serve(8080, "a").await;
        b.serve(8080, "b").await;
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

        node.api.endpoints("web", http(), ready(&[&a, &b]));
        let mut seen = BTreeSet::new();
        eventually(
            async || {
                seen.insert(client.ask((IP, 80)).await.unwrap());
                seen.len()
            },
            |count| *count == 2,
        )
        .await;
        node.api.endpoints("web", http(), ready(&[]));
        drop(eventually(async || client.ask((IP, 80)).await, refused).await);
        node.api.delete("services", "web");
        node.proxy.stop().await;
    });
}

#[test]
fn the_local_policy_keeps_the_clients_address_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let a = node.host.pod("a", [10, 42, 0, 2]).await;
        a.serve(8080, "a").await;
        node.api.service("web", web(json!({"externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.5"]})));
        node.api.endpoints("web", http(), ready(&[&a]));
        node.outside.run("ip", "route add 203.0.113.5/32 via 192.0.2.1").await;
        let answer = eventually(async || node.outside.ask(([203, 0, 113, 5], 80)).await, Result::is_ok).await;
        assert_eq!(answer.unwrap(), "a to 192.0.2.7");
        assert_eq!(node.outside.ask((NODE, 30080)).await.unwrap(), "a to 192.0.2.7");
        node.proxy.stop().await;
    });
}

#[test]
fn affinity_keeps_a_client_with_its_endpoint_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let client = node.host.pod("client", [10, 42, 0, 99]).await;
        let mut pods = Vec::new();
        for (n, word) in [(2, "2"), (3, "3"), (4, "4"), (5, "5")] {
            let pod = node.host.pod(word, [10, 42, 0, n]).await;
            pod.serve(8080, word).await;
            pods.push(pod);
        }
        let all: Vec<&Pod> = pods.iter().collect();
        node.api.service("web", web(json!({"sessionAffinity": "ClientIP"})));
        node.api.endpoints("web", http(), ready(&all));
        let first = eventually(async || client.ask((IP, 80)).await, Result::is_ok).await.unwrap();
        for _ in 0..20 {
            assert_eq!(client.ask((IP, 80)).await.unwrap(), first);
        }
        let rest: Vec<&Pod> =
            all.into_iter().filter(|pod| !first.starts_with(&pod.address.octets()[3].to_string())).collect();
        node.api.endpoints("web", http(), ready(&rest));
        let second = eventually(async || client.ask((IP, 80)).await.unwrap(), |answer| *answer != first).await;
        for _ in 0..20 {
            assert_eq!(client.ask((IP, 80)).await.unwrap(), second);
        }
        node.proxy.stop().await;
    });
}

#[test]
fn a_udp_client_that_keeps_sending_follows_the_endpoints_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let client = node.host.pod("client", [10, 42, 0, 99]).await;
        let a = node.host.pod("a", [10, 42, 0, 2]).await;
        let b = node.host.pod("b", [10, 42, 0, 3]).await;
        for (pod, word) in [(&a, "a"), (&b, "b")] {
            let socket = netns::run_in(&pod.netns, || UdpSocket::bind("0.0.0.0:5353")).await.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(word.as_bytes(), peer);
                }
            });
        }
        let ports = || json!([{"name": "dns", "port": 5353, "protocol": "UDP"}]);
        node.api.service(
            "dns",
            json!({"clusterIP": "10.43.0.5", "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}]}),
        );
        node.api.endpoints("dns", ports(), ready(&[&a]));
        // One socket for all: the kernel remembers where it was led.
        let socket = netns::run_in(&client.netns, || UdpSocket::bind("0.0.0.0:0")).await.unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let exchange = async || {
            let mut buffer = [0; 8];
            socket.send_to(b"?", SocketAddr::from((IP, 53))).ok();
            socket.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap_or_default()
        };
        eventually(exchange, |answer| answer == b"a").await;
        node.api.endpoints("dns", ports(), ready(&[&b]));
        eventually(exchange, |answer| answer == b"b").await;
        node.proxy.stop().await;
    });
}

#[test]
fn a_table_that_somebody_deleted_comes_back_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let a = node.host.pod("a", [10, 42, 0, 2]).await;
        let client = node.host.pod("client", [10, 42, 0, 4]).await;
        a.serve(8080, "a").await;
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
