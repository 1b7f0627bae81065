//! The node's pods that have its own address: which of its ports are theirs. A process of the host may listen beside them,
//! so that only what a pod declares (`containerPort`, TCP) counts. Connects nothing; the tunnel asks.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;

use super::sandbox::on_host;
use crate::net::node_address::NodeAddress;
use crate::reconcile::Informer;

#[derive(Clone)]
pub struct HostNetworkPods {
    /// Those of this node.
    pub pods: Informer<Pod>,
    pub node_address: NodeAddress,
}

impl HostNetworkPods {
    pub fn listens_at(&self, to: SocketAddr) -> bool {
        to.ip() == self.node_address.get() && self.pods.store().state().iter().any(|pod| declares(pod, to.port()))
    }
}

fn declares(pod: &Pod, port: u16) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let Some(spec) = pod.spec.as_ref().filter(|_| on_host(pod) && !matches!(phase, Some("Succeeded" | "Failed")))
    else {
        return false;
    };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.any(|it| it.container_port == i32::from(port) && it.protocol.as_deref().is_none_or(|name| name == "TCP"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(on_host: bool, phase: &str, ports: Value) -> Pod {
        let spec = json!({"hostNetwork": on_host, "containers": [{"name": "c", "ports": ports}]});
        serde_json::from_value(json!({"spec": spec, "status": {"phase": phase}})).unwrap()
    }

    #[test]
    fn only_declared_ports_of_living_pods_on_the_hosts_network_count() {
        let tcp = json!([{"containerPort": 80}, {"containerPort": 81, "protocol": "TCP"}]);
        for (pod, port, expected) in [
            (pod(true, "Running", tcp.clone()), 80, true),
            (pod(true, "Pending", tcp.clone()), 81, true),
            (pod(true, "Running", tcp.clone()), 22, false),
            (pod(false, "Running", tcp.clone()), 80, false),
            (pod(true, "Succeeded", tcp), 80, false),
            (pod(true, "Running", json!([{"containerPort": 80, "protocol": "UDP"}])), 80, false),
            (pod(true, "Running", Value::Null), 80, false),
        ] {
            assert_eq!(declares(&pod, port), expected, "{port} of {pod:?}");
        }
    }
}
