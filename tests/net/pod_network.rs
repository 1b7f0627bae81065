//! The pods' way out, and host ports.

use orch::agent::pod_network::{PodNetwork, PodNetworkConfig};
use orch::lifecycle::Component;
use orch::reconcile::Informers;
use serde_json::json;

use crate::api::Api;
use crate::support::{ask, eventually, on_host, refused, run};

#[test]
fn pods_reach_the_outside_under_the_nodes_address_and_host_ports_lead_to_them_needs_root() {
    on_host(|host| async move {
        let outside = host.neighbour("outside", [192, 0, 2, 1], [192, 0, 2, 7]).await;
        outside.serve(80, "outside").await;
        let a = host.pod("a", [10, 42, 0, 2]).await;
        let b = host.pod("b", [10, 42, 0, 3]).await;
        a.serve(80, "a").await;
        let api = Api::default();
        let informers = Informers::new(api.client());
        let config = PodNetworkConfig {
            pods: informers.selected("spec.nodeName=here"),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            table_prefix: "orch".to_owned(),
        };
        let mut network = PodNetwork::new(config.clone());
        network.start().await.unwrap();
        let answer = eventually(async || b.ask(([192, 0, 2, 7], 80)).await, Result::is_ok).await.unwrap();
        assert_eq!(answer, "outside to 192.0.2.1");
        assert_eq!(b.ask((a.address, 80)).await.unwrap(), "a to 10.42.0.3", "not among pods");

        let pod = |name: &str, address: &str| {
            api.pod(
                name,
                json!({"nodeName": "here", "containers": [
                    {"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}]}
                ]}),
                json!({"phase": "Running", "podIP": address}),
            );
        };
        pod("a", "10.42.0.2");
        let answer = eventually(async || outside.ask(([192, 0, 2, 1], 8080)).await, Result::is_ok).await.unwrap();
        assert_eq!(answer, "a to 192.0.2.7", "the pod sees the client");
        assert_eq!(ask(([192, 0, 2, 1], 8080).into()).unwrap(), "a to 192.0.2.1");
        assert_eq!(a.ask(([192, 0, 2, 1], 8080)).await.unwrap(), "a to 192.0.2.1", "itself");
        assert_eq!(b.ask(([192, 0, 2, 1], 8080)).await.unwrap(), "a to 10.42.0.3");

        // A restarted agent finds the same rules and goes on.
        network.stop().await;
        assert_eq!(outside.ask(([192, 0, 2, 1], 8080)).await.unwrap(), "a to 192.0.2.7", "they stay meanwhile");
        let mut network = PodNetwork::new(config);
        network.start().await.unwrap();
        api.delete("pods", "a");
        drop(eventually(async || outside.ask(([192, 0, 2, 1], 8080)).await, refused).await);
        run("nft", "delete table inet orch-pod");
        eventually(async || run("nft", "list tables"), |tables| tables.contains("orch-pod")).await;
        network.stop().await;
    });
}
