//! What of the proxy is the node's: where node ports are, and whether the node is to stay.

use std::io;
use std::net::Ipv4Addr;

use orch::agent::proxy::NodePortAddresses;
use orch::lifecycle::Component;
use serde_json::json;

use super::{NODE, http, node_with, ready, web};
use crate::support::{ask, eventually, get, on_host, refused};

/// Another address of the node, which its neighbour reaches too.
const SECOND: [u8; 4] = [198, 51, 100, 1];

#[test]
fn node_ports_are_on_the_nodes_own_address_or_where_they_were_asked_for_needs_root() {
    let within = NodePortAddresses::Within(vec!["198.51.100.0/24".parse().unwrap()]);
    for (node_ports, there, not) in [(NodePortAddresses::Primary, NODE, SECOND), (within, SECOND, NODE)] {
        on_host(move |host| async move {
            let mut node = node_with(host, |config| config.node_ports = node_ports).await;
            node.host.ip("addr add 198.51.100.1/24 dev wire");
            node.outside.run("ip", "route add 198.51.100.1/32 via 192.0.2.1").await;
            let a = node.web("a", 2).await;
            node.api.service("web", web(json!({})));
            node.api.endpoints("web", http(), ready(&[&a]));
            drop(eventually(async || node.outside.ask((there, 30080)).await, Result::is_ok).await);
            assert!(refused(&node.outside.ask((not, 30080)).await), "nobody listens there");
            assert!(ask((Ipv4Addr::from(there), 30080).into()).is_ok(), "from the host");
            assert!(refused(&ask((Ipv4Addr::from(not), 30080).into())));
            // Without endpoints, too, only there is anybody who refuses: on the other a listener of the host's is reached.
            node.api.endpoints("web", http(), ready(&[]));
            drop(eventually(async || node.outside.ask((there, 30080)).await, refused).await);
            crate::support::serve(std::net::TcpListener::bind("0.0.0.0:30080").unwrap(), "host");
            assert!(refused(&node.outside.ask((there, 30080)).await));
            assert!(node.outside.ask((not, 30080)).await.unwrap().starts_with("host"));
            node.proxy.stop().await;
        });
    }
}

#[test]
fn a_node_that_is_about_to_go_tells_load_balancers_needs_root() {
    on_host(|host| async move {
        let mut node = node_with(host, |_| {}).await;
        let ask = async |path: &'static str| {
            let outside = node.outside.netns.clone();
            orch::net::netns::run_in(&outside, move || get((Ipv4Addr::from(NODE), 10256).into(), path)).await
        };
        let says = |status: &'static str, word: &'static str| {
            move |answer: &io::Result<String>| {
                answer.as_ref().is_ok_and(|text| text.starts_with(status) && text.ends_with(word))
            }
        };
        let healthy = says("HTTP/1.1 200", "\"nodeEligible\": true}");
        let answer = eventually(async || ask("/healthz").await, healthy).await.unwrap();
        assert!(answer.contains("{\"lastUpdated\": \"") && answer.contains(",\"currentTime\": \""), "{answer}");
        let taint = json!([{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]);
        node.api.tainted_node("here", taint);
        drop(eventually(async || ask("/healthz").await, says("HTTP/1.1 503", "\"nodeEligible\": false}")).await);
        assert!(ask("/livez").await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(ask("/").await.unwrap().starts_with("HTTP/1.1 404"));
        node.api.node("here", json!({}));
        drop(eventually(async || ask("/healthz").await, says("HTTP/1.1 200", "true}")).await);
        node.proxy.stop().await;
    });
}
