//! Ten thousand Services: that they all work, and, printed for a person, how long it took.

use std::time::Instant;

use orch::agent::proxy::{ProxyConfig, ServiceProxy};
use orch::agent::services::Services;
use orch::lifecycle::Component;
use serde_json::json;

use crate::api::Api;
use crate::support::{eventually, on_host};

const COUNT: u32 = 10_000;

#[test]
fn ten_thousand_services_are_programmed_and_one_change_is_small_needs_root() {
    on_host(|host| async move {
        orch::net::masquerade::allow_forwarding().unwrap();
        host.ip("addr add 192.0.2.1/32 dev lo");
        let client = host.pod("client", [10, 42, 0, 2]).await;
        let server = host.pod("server", [10, 42, 0, 3]).await;
        server.serve(8080, "server").await;
        let api = Api::default();
        let port = || json!([{"name": "http", "port": 8080}]);
        let endpoints = |n: u32, last: u8| {
            let other =
                |third: u32| json!({"addresses": [format!("10.42.{third}.{}", n % 250 + 1)], "nodeName": "there"});
            let here = json!({"addresses": [format!("10.42.0.{last}")], "nodeName": "here"});
            if n == COUNT - 1 { json!([here]) } else { json!([here, other(100 + n / 250), other(150 + n / 250)]) }
        };
        for n in 0..COUNT {
            let ip = format!("10.43.{}.{}", n / 250 + 1, n % 250 + 1);
            let ports = json!([{"name": "http", "port": 80, "nodePort": 30_000 + n % 2_000}]);
            let ports = if n < 2_000 { ports } else { json!([{"name": "http", "port": 80}]) };
            api.service(&format!("s{n}"), json!({"clusterIP": ip, "ports": ports}));
            api.endpoints(&format!("s{n}"), port(), endpoints(n, 3));
        }
        let services = Services::watch(api.client());
        services.wait_ready().await;
        let begun = Instant::now();
        let mut proxy = ServiceProxy::new(ProxyConfig {
            client: api.client(),
            services: services.clone(),
            node_name: "here".to_owned(),
            node_ip: [192, 0, 2, 1].into(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            cluster_dns: None,
            table_prefix: "orch".to_owned(),
        });
        proxy.start().await.unwrap();
        // The last one has only the endpoint that answers.
        let last = ([10, 43, 40, 250], 80);
        drop(eventually(async || client.ask(last).await, Result::is_ok).await);
        println!("first sync of {COUNT} services: {:?}", begun.elapsed());
        let mut times = Vec::new();
        for round in 0..20 {
            let begun = Instant::now();
            let answers = round % 2 == 1;
            api.endpoints(&format!("s{}", COUNT - 1), port(), endpoints(COUNT - 1, if answers { 3 } else { 2 }));
            // The client's own port 8080 is closed: a refusal tells that the change has arrived.
            drop(eventually(async || client.ask(last).await, |result| result.is_ok() == answers).await);
            times.push(begun.elapsed());
        }
        times.sort();
        println!("one change among them: median {:?}, longest {:?}", times[times.len() / 2], times[times.len() - 1]);
        proxy.stop().await;
        services.stop().await;
    });
}
