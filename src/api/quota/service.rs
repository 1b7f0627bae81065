//! Services: their number, and the scarce things that some of them take.

use k8s_openapi::api::core::v1::Service;

use super::count;
use crate::api::pod::Resources;

const NAMES: [&str; 4] = ["services", "services.loadbalancers", "services.nodeports", "count/services"];

pub(super) fn is_limited_by(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(super) fn usage(service: &Service) -> Resources {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let chosen = ports.iter().filter(|port| port.node_port.is_some_and(|port| port != 0)).count();
    let (balancers, node_ports) = match spec.type_.as_deref() {
        Some("NodePort") => (0, ports.len()),
        Some("LoadBalancer") if spec.allocate_load_balancer_node_ports == Some(false) => (1, chosen),
        Some("LoadBalancer") => (1, ports.len()),
        _ => (0, 0),
    };
    let amounts = [1, balancers, node_ports, 1];
    NAMES.into_iter().zip(amounts).map(|(name, amount)| (name.to_owned(), count(amount))).collect()
}
