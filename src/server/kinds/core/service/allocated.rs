//! What the cluster allocated to a Service outlives an update that leaves it out, and goes when the type
//! no longer has it. The allocation itself happens elsewhere.

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use crate::server::validation::text;

/// The single address is the first of the list. A list without it is left for validation to refuse.
pub fn mirror_cluster_ips(spec: &mut ServiceSpec) {
    let single = text(&spec.cluster_ip);
    if !single.is_empty() && spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        spec.cluster_ips = Some(vec![single.to_owned()]);
    }
}

fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    matches!(text(&spec.type_), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    let balanced = text(&spec.type_) == "LoadBalancer" && spec.allocate_load_balancer_node_ports != Some(false);
    text(&spec.type_) == "NodePort" || balanced
}

pub fn is_external(spec: &ServiceSpec) -> bool {
    let ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    matches!(text(&spec.type_), "NodePort" | "LoadBalancer") || text(&spec.type_) == "ClusterIP" && ips
}

pub fn has_health_check_port(spec: &ServiceSpec) -> bool {
    text(&spec.type_) == "LoadBalancer" && text(&spec.external_traffic_policy) == "Local"
}

/// Carries over what the new state leaves out and still needs.
pub fn keep(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(new) && has_cluster_ip(old) {
        if text(&new.cluster_ip).is_empty() {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        let same = new.cluster_ip == old.cluster_ip;
        match new.cluster_ips.as_deref().unwrap_or_default() {
            [] if same => new.cluster_ips.clone_from(&old.cluster_ips),
            // One of the two changed: the other follows it.
            ips if !same && ips == old.cluster_ips.as_deref().unwrap_or_default() => {
                new.cluster_ips = new.cluster_ip.clone().map(|single| vec![single]);
            }
            _ => mirror_cluster_ips(new),
        }
        if new.ip_families.is_none() && new.cluster_ips == old.cluster_ips {
            new.ip_families.clone_from(&old.ip_families);
        }
        if new.ip_family_policy.is_none() {
            new.ip_family_policy.clone_from(&old.ip_family_policy);
        }
    }
    if has_node_ports(new) && has_node_ports(old) {
        keep_node_ports(new.ports.as_deref_mut().unwrap_or_default(), old.ports.as_deref().unwrap_or_default());
    }
    if has_health_check_port(new) && has_health_check_port(old) && new.health_check_node_port.unwrap_or(0) == 0 {
        new.health_check_node_port = old.health_check_node_port;
    }
}

/// A port is the same one when its name is; what else it is may have changed.
fn keep_node_ports(new: &mut [ServicePort], old: &[ServicePort]) {
    let number = |port: &ServicePort| port.node_port.filter(|number| *number != 0);
    let mut taken: Vec<_> = new.iter().filter_map(number).collect();
    for port in new.iter_mut().filter(|port| number(port).is_none()) {
        let same = old.iter().rfind(|before| text(&before.name) == text(&port.name)).and_then(number);
        if let Some(kept) = same.filter(|number| !taken.contains(number)) {
            port.node_port = Some(kept);
            taken.push(kept);
        }
    }
}

/// Clears what the new type does not have, where the client did not ask for it anew.
pub fn drop_unused(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(old) && !has_cluster_ip(new) {
        if new.cluster_ips == old.cluster_ips {
            new.cluster_ip = None;
            new.cluster_ips = None;
        }
        if new.ip_families == old.ip_families {
            new.ip_families = None;
        }
        if new.ip_family_policy == old.ip_family_policy {
            new.ip_family_policy = None;
        }
    }
    if has_node_ports(old) && !has_node_ports(new) {
        let before = old.ports.as_deref().unwrap_or_default();
        for port in new.ports.iter_mut().flatten() {
            if before.iter().any(|old| old.node_port == port.node_port) {
                port.node_port = None;
            }
        }
    }
    if has_health_check_port(old)
        && !has_health_check_port(new)
        && new.health_check_node_port == old.health_check_node_port
    {
        new.health_check_node_port = None;
    }
    if is_external(old) && !is_external(new) && new.external_traffic_policy == old.external_traffic_policy {
        new.external_traffic_policy = None;
    }
    if text(&old.type_) == "LoadBalancer" && text(&new.type_) != "LoadBalancer" {
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            new.allocate_load_balancer_node_ports = None;
        }
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
}
