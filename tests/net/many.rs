//! Many Services with three endpoints each, of which the last has just one: the server that answers.

use orch::agent::nodes::{Nodes, NodesConfig};
use orch::agent::proxy::{NodePortAddresses, ProxyConfig};
use orch::agent::services::Services;
use orch::net::node_address::NodeAddress;
use orch::net::overlay::Backend;
use serde_json::{Value, json};

use crate::api::Api;

pub fn port() -> Value {
    json!([{"name": "http", "port": 8080}])
}

/// Where the last of `count` Services is.
pub fn last(count: u32) -> ([u8; 4], u16) {
    (address(count - 1), 80)
}

fn address(n: u32) -> [u8; 4] {
    [10, 43, (n / 250 + 1) as u8, (n % 250 + 1) as u8]
}

/// The endpoints of the n-th Service, that on this node at 10.42.0.`here`.
pub fn endpoints(n: u32, count: u32, here: u8) -> Value {
    let there = |third: u32| json!({"addresses": [format!("10.42.{third}.{}", n % 250 + 1)], "nodeName": "there"});
    let here = json!({"addresses": [format!("10.42.0.{here}")], "nodeName": "here"});
    if n == count - 1 { json!([here]) } else { json!([here, there(100 + n / 250), there(150 + n / 250)]) }
}

/// Puts all of them into the API; some have node ports.
pub fn fill(api: &Api, count: u32, here: u8) {
    for n in 0..count {
        let mut port_of = json!({"name": "http", "port": 80});
        if n < 2_000 {
            port_of["nodePort"] = (30_000 + n).into();
        }
        let ip = std::net::Ipv4Addr::from(address(n)).to_string();
        api.service(&format!("s{n}"), json!({"clusterIP": ip, "ports": [port_of]}));
        api.endpoints(&format!("s{n}"), port(), endpoints(n, count, here));
    }
}

/// The proxy of a node called `here` at 192.0.2.1.
pub fn proxy_config(api: &Api, services: &Services) -> ProxyConfig {
    ProxyConfig {
        client: api.client(),
        nodes: Nodes::watch(NodesConfig {
            client: api.client(),
            node_name: "here".to_owned(),
            backend: Backend::Vxlan,
            all: false,
            memory: None,
        }),
        services: services.clone(),
        node_name: "here".to_owned(),
        node_address: NodeAddress::fixed([192, 0, 2, 1].into()),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        cluster_dns: None,
        node_ports: NodePortAddresses::Primary,
        healthz: ([0, 0, 0, 0], 10256).into(),
        table_prefix: "orch".to_owned(),
    }
}
