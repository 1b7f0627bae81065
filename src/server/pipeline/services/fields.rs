//! Which fields of a Service hold addresses and ports, and when it needs them.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

const NONE: &str = "None";

fn kind(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

/// The address asked for, or empty.
pub fn wanted_address(spec: &ServiceSpec) -> &str {
    let first = spec.cluster_ips.as_ref().and_then(|ips| ips.first()).map(String::as_str);
    spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty()).or(first).unwrap_or_default()
}

fn headless(spec: &ServiceSpec) -> bool {
    wanted_address(spec) == NONE
}

pub fn needs_address(spec: &ServiceSpec) -> bool {
    matches!(kind(spec), "ClusterIP" | "NodePort" | "LoadBalancer") && !headless(spec)
}

pub fn needs_node_ports(spec: &ServiceSpec) -> bool {
    match kind(spec) {
        "NodePort" => true,
        "LoadBalancer" => {
            spec.allocate_load_balancer_node_ports != Some(false)
                || spec.ports.iter().flatten().any(|port| port.node_port.unwrap_or(0) != 0)
        }
        _ => false,
    }
}

pub fn needs_health_port(spec: &ServiceSpec) -> bool {
    kind(spec) == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// Every address a Service has.
pub fn addresses(spec: &ServiceSpec) -> impl Iterator<Item = IpAddr> {
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    listed.filter_map(|ip| ip.parse().ok())
}

/// Every node port a Service has.
pub fn ports(spec: &ServiceSpec) -> impl Iterator<Item = u16> {
    let listed = spec.ports.iter().flatten().filter_map(|port| port.node_port).chain(spec.health_check_node_port);
    listed.filter_map(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

pub fn set_address(spec: &mut ServiceSpec, ip: IpAddr) {
    spec.cluster_ip = Some(ip.to_string());
    spec.cluster_ips = Some(vec![ip.to_string()]);
    spec.ip_families = Some(vec![if ip.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned()]);
    spec.ip_family_policy.get_or_insert_with(|| "SingleStack".to_owned());
}

/// Drops what the type has no use for, and settles the fields of Services without an address.
pub fn clear_unneeded(spec: &mut ServiceSpec) {
    if kind(spec) == "ExternalName" {
        spec.cluster_ip = None;
        spec.cluster_ips = None;
        spec.ip_families = None;
        spec.ip_family_policy = None;
    } else if headless(spec) {
        spec.cluster_ip = Some(NONE.to_owned());
        spec.cluster_ips = Some(vec![NONE.to_owned()]);
        // Without a selector anybody may put endpoints of either family in.
        let open = spec.selector.as_ref().is_none_or(|selector| selector.is_empty());
        let (families, policy): (&[&str], _) =
            if open { (&["IPv4", "IPv6"], "RequireDualStack") } else { (&["IPv4"], "SingleStack") };
        spec.ip_families.get_or_insert_with(|| families.iter().map(|&family| family.to_owned()).collect());
        spec.ip_family_policy.get_or_insert_with(|| policy.to_owned());
    }
    if !matches!(kind(spec), "NodePort" | "LoadBalancer") {
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    if !needs_health_port(spec) {
        spec.health_check_node_port = None;
    }
}

/// What was given to the Service stays where an update does not mention it (upstream's
/// `patchAllocatedValues`).
pub fn inherit(new: &mut Service, old: &Service) {
    let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
    if needs_address(new) && needs_address(old) && wanted_address(new).is_empty() {
        new.cluster_ip.clone_from(&old.cluster_ip);
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
    let both = |spec: &ServiceSpec| matches!(kind(spec), "NodePort" | "LoadBalancer");
    if both(new) && both(old) {
        let taken: Vec<i32> = new.ports.iter().flatten().filter_map(|port| port.node_port).collect();
        for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or(0) == 0) {
            let same =
                |o: &&k8s_openapi::api::core::v1::ServicePort| o.port == port.port && o.protocol == port.protocol;
            let before = old.ports.iter().flatten().find(same).and_then(|port| port.node_port);
            port.node_port = before.filter(|port| !taken.contains(port));
        }
    }
    if needs_health_port(new) && needs_health_port(old) && new.health_check_node_port.unwrap_or(0) == 0 {
        new.health_check_node_port = old.health_check_node_port;
    }
    if kind(new) != "ExternalName" && kind(old) != "ExternalName" {
        if new.ip_families.is_none() {
            new.ip_families.clone_from(&old.ip_families);
        }
        if new.ip_family_policy.is_none() {
            new.ip_family_policy.clone_from(&old.ip_family_policy);
        }
    }
}
