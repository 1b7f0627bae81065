//! Who is led where: traffic policies, affinity, topology hints, and whom a load balancer lets in.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use orch::lifecycle::Component;
use serde_json::json;

use super::{IP, NODE, http, node, ready, web};
use crate::support::{Pod, ask, eventually, get, on_host, refused, run};

/// Whether nobody answers at all.
async fn dropped(pod: &Pod, to: ([u8; 4], u16)) -> bool {
    let connect = move || TcpStream::connect_timeout(&to.into(), Duration::from_millis(300)).map(drop);
    let result = orch::net::netns::run_in(&pod.netns, connect).await;
    matches!(result, Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock))
}

#[test]
fn the_local_policy_keeps_the_clients_address_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let a = node.web("a", 2).await;
        node.api.service("web", web(json!({"externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.5"]})));
        node.api.endpoints("web", http(), ready(&[&a]));
        node.outside.run("ip", "route add 203.0.113.5/32 via 192.0.2.1").await;
        let answer = eventually(async || node.outside.ask(([203, 0, 113, 5], 80)).await, Result::is_ok).await;
        assert_eq!(answer.unwrap(), "a to 192.0.2.7");
        assert_eq!(node.outside.ask((NODE, 30080)).await.unwrap(), "a to 192.0.2.7");
        assert_eq!(ask((Ipv4Addr::from(NODE), 30080).into()).unwrap(), "a to 192.0.2.1", "from the host itself");
        // Other nodes alone have endpoints: those from outside are to ask there, those from inside need not know.
        node.api.endpoints("web", http(), json!([{"addresses": ["10.42.0.2"], "nodeName": "there"}]));
        eventually(async || dropped(&node.outside, (NODE, 30080)).await, |dropped| *dropped).await;
        assert!(dropped(&node.outside, ([203, 0, 113, 5], 80)).await);
        let client = node.host.pod("client", [10, 42, 0, 4]).await;
        assert_eq!(client.ask((NODE, 30080)).await.unwrap(), "a to 10.42.0.4");
        assert_eq!(ask((Ipv4Addr::from(NODE), 30080).into()).unwrap(), "a to 192.0.2.1");
        node.api.endpoints("web", http(), json!([]));
        drop(eventually(async || node.outside.ask((NODE, 30080)).await, refused).await);
        node.proxy.stop().await;
    });
}

#[test]
fn the_internal_policy_stays_on_this_node_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let (a, client) = (node.web("a", 2).await, node.host.pod("client", [10, 42, 0, 4]).await);
        node.api.service("web", web(json!({"internalTrafficPolicy": "Local"})));
        node.api.endpoints("web", http(), ready(&[&a]));
        drop(eventually(async || client.ask((IP, 80)).await, Result::is_ok).await);
        node.api.endpoints("web", http(), json!([{"addresses": ["10.42.0.2"], "nodeName": "there"}]));
        eventually(async || dropped(&client, (IP, 80)).await, |dropped| *dropped).await;
        assert_eq!(node.outside.ask((NODE, 30080)).await.unwrap(), "a to 192.0.2.1", "the way from outside is open");
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
            pods.push(node.web(word, n).await);
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
fn affinity_ends_when_its_time_is_over_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let client = node.host.pod("client", [10, 42, 0, 99]).await;
        let (a, b) = (node.web("a", 2).await, node.web("b", 3).await);
        let config = json!({"clientIP": {"timeoutSeconds": 2}});
        node.api.service("web", web(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config})));
        node.api.endpoints("web", http(), ready(&[&a, &b]));
        let first = eventually(async || client.ask((IP, 80)).await, Result::is_ok).await.unwrap();
        let by_node_port = client.ask((NODE, 30080)).await.unwrap();
        assert_eq!(by_node_port[..1], first[..1], "one port of the Service, whichever address");
        let remembered = || run("nft", "list map inet orch-svc affinity").contains("10.42.0.99");
        assert!(remembered());
        let other = async || {
            eventually(async || remembered(), |remembered| !remembered).await;
            client.ask((IP, 80)).await.unwrap()
        };
        // It is forgotten again and again until chance gives it the other endpoint.
        let mut rounds = 0;
        while other().await == first {
            rounds += 1;
            assert!(rounds < 20, "always the same endpoint");
        }
        node.proxy.stop().await;
    });
}

#[test]
fn hints_lead_to_the_nodes_own_zone_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let client = node.host.pod("client", [10, 42, 0, 99]).await;
        let (a, b) = (node.web("a", 2).await, node.web("b", 3).await);
        node.api.service("web", web(json!({})));
        let hinted = |pod: &Pod, zone| json!({"addresses": [pod.address], "hints": {"forZones": [{"name": zone}]}});
        node.api.endpoints("web", http(), json!([hinted(&a, "x"), hinted(&b, "y")]));
        for (zone, word) in [("x", "a"), ("y", "b"), ("x", "a")] {
            node.api.node("here", json!({"topology.kubernetes.io/zone": zone}));
            let always = async || {
                let mut words = Vec::new();
                for _ in 0..16 {
                    words.push(client.ask((IP, 80)).await.map_err(|error| error.kind()));
                }
                words
            };
            let wanted = Ok(format!("{word} to 10.42.0.99"));
            eventually(always, |words| words.iter().all(|it| *it == wanted)).await;
        }
        node.proxy.stop().await;
    });
}

#[test]
fn a_load_balancers_address_is_for_the_named_sources_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let (a, client) = (node.web("a", 2).await, node.host.pod("client", [10, 42, 0, 4]).await);
        let status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}});
        let spec = |range| web(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": [range]}));
        node.api.endpoints("web", http(), ready(&[&a]));
        node.outside.run("ip", "route add 203.0.113.5/32 via 192.0.2.1").await;
        let balancer = ([203, 0, 113, 5], 80);
        node.api.service_with_status("web", spec("192.0.2.7/32"), status.clone());
        drop(eventually(async || node.outside.ask(balancer).await, Result::is_ok).await);
        assert!(dropped(&client, balancer).await, "a pod is not among them");
        node.api.service_with_status("web", spec("10.42.0.0/16"), status);
        drop(eventually(async || client.ask(balancer).await, Result::is_ok).await);
        assert!(dropped(&node.outside, balancer).await);
        assert!(node.outside.ask((NODE, 30080)).await.is_ok(), "the node port is open");
        node.proxy.stop().await;
    });
}

#[test]
fn load_balancers_learn_at_the_health_check_port_whether_to_come_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let a = node.host.pod("a", [10, 42, 0, 2]).await;
        let spec = |policy, port| {
            web(json!({"type": "LoadBalancer", "externalTrafficPolicy": policy, "healthCheckNodePort": port}))
        };
        let question = async |port: u16| {
            let exchange = move || get((NODE, port).into(), "/healthz");
            orch::net::netns::run_in(&node.outside.netns, exchange).await
        };
        let says = |status: &'static str, count: &'static str| {
            move |answer: &io::Result<String>| {
                answer.as_ref().is_ok_and(|text| text.starts_with(status) && text.contains(count))
            }
        };
        node.api.service("web", spec("Local", 30990));
        node.api.endpoints("web", http(), ready(&[&a]));
        let answer = eventually(async || question(30990).await, says("HTTP/1.1 200", "\"localEndpoints\": 1,")).await;
        let answer = answer.unwrap();
        let body = "{\n\t\"service\": {\n\t\t\"namespace\": \"n\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}";
        assert!(answer.ends_with(body), "{answer}");
        assert!(answer.contains("x-load-balancing-endpoint-weight: 1\r\n"), "{answer}");
        node.api.endpoints("web", http(), json!([{"addresses": ["10.42.0.3"], "nodeName": "there"}]));
        drop(eventually(async || question(30990).await, says("HTTP/1.1 503", "\"localEndpoints\": 0,")).await);
        // Another port, and another Service that takes the first.
        node.api.service("web", spec("Local", 30991));
        node.api.service("other", spec("Local", 30990));
        drop(eventually(async || question(30991).await, Result::is_ok).await);
        drop(eventually(async || question(30990).await, says("HTTP/1.1 503", "\"name\": \"other\"")).await);
        node.api.service("web", spec("Cluster", 30991));
        drop(eventually(async || question(30991).await, refused).await);
        node.proxy.stop().await;
        drop(eventually(async || question(30990).await, refused).await);
    });
}
