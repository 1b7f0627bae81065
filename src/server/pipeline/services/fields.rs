//! Which fields of a Service hold addresses and ports, and when it needs them.

use std::net::{IpAddr, Ipv6Addr};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::api::field::{Error, Path};

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
}

fn is_open(spec: &ServiceSpec) -> bool {
    headless(spec) && spec.selector.as_ref().is_none_or(|selector| selector.is_empty())
}

/// Settles the families of a Service, where the cluster has IPv4 alone (upstream's `initIPFamilyFields`).
pub fn families(spec: &mut ServiceSpec, old: Option<&ServiceSpec>) -> Vec<Error> {
    if kind(spec) == "ExternalName" {
        return Vec::new();
    }
    // Without a selector anybody may put endpoints of either family in.
    let default = if is_open(spec) { "RequireDualStack" } else { "SingleStack" };
    let before = old.and_then(|old| old.ip_family_policy.clone());
    let policy = spec.ip_family_policy.get_or_insert_with(|| before.unwrap_or_else(|| default.to_owned())).clone();
    let path = Path::new("spec");
    let at_policy = |detail: &str| Error::invalid(&path.child("ipFamilyPolicy"), policy.as_str(), detail);
    let mut errors = Vec::new();
    let count = |families: &Option<Vec<String>>| families.as_ref().map_or(0, Vec::len);
    let reduced = old.is_some_and(|old| count(&old.ip_families) == 2) && count(&spec.ip_families) == 1;
    match policy.as_str() {
        "SingleStack" => {
            if old.is_some_and(|old| old.ip_families == spec.ip_families) {
                spec.ip_families.iter_mut().for_each(|families| families.truncate(1));
            }
            for (what, list) in [("cluster IPs", &spec.cluster_ips), ("IP families", &spec.ip_families)] {
                if count(list) == 2 {
                    let multiple = format!("when multiple {what} are specified");
                    errors.push(at_policy(&format!("must be 'RequireDualStack' or 'PreferDualStack' {multiple}")));
                }
            }
        }
        _ if reduced => errors.push(at_policy("must be 'SingleStack' to release the secondary IP family")),
        _ => {}
    }
    let ips = spec.cluster_ips.clone().unwrap_or_default();
    let families = spec.ip_families.get_or_insert_default();
    for (at, ip) in ips.iter().enumerate().skip(families.len()) {
        if ip.parse::<Ipv6Addr>().is_ok() {
            let here = path.child("clusterIPs").index(at);
            errors.push(Error::invalid(&here, ips.clone(), "IPv6 is not configured on this cluster"));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    if families.is_empty() {
        families.push("IPv4".to_owned());
    }
    if is_open(spec) {
        let families = spec.ip_families.get_or_insert_default();
        if policy != "SingleStack" && families.len() == 1 {
            let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
            families.push(other.to_owned());
        }
        return errors;
    }
    if policy == "RequireDualStack" {
        errors.push(at_policy("this cluster is not configured for dual-stack services"));
    }
    for (at, family) in spec.ip_families.iter().flatten().enumerate().filter(|(_, family)| *family == "IPv6") {
        let here = path.child("ipFamilies").index(at);
        errors.push(Error::invalid(&here, family.as_str(), "not configured on this cluster"));
    }
    errors
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settled(spec: &Value, old: Option<&Value>) -> (Vec<String>, Value) {
        let read = |spec: &Value| serde_json::from_value::<ServiceSpec>(spec.clone()).unwrap();
        let mut spec = read(spec);
        let errors = families(&mut spec, old.map(read).as_ref());
        (errors.iter().map(ToString::to_string).collect(), json!([spec.ip_family_policy, spec.ip_families]))
    }

    #[test]
    fn services_have_the_families_of_the_cluster() {
        let cases = [
            (json!({}), json!(["SingleStack", ["IPv4"]])),
            (json!({"ipFamilyPolicy": "PreferDualStack"}), json!(["PreferDualStack", ["IPv4"]])),
            (json!({"clusterIP": "None"}), json!(["RequireDualStack", ["IPv4", "IPv6"]])),
            (json!({"clusterIP": "None", "ipFamilies": ["IPv6"]}), json!(["RequireDualStack", ["IPv6", "IPv4"]])),
            (json!({"clusterIP": "None", "selector": {"a": "b"}}), json!(["SingleStack", ["IPv4"]])),
            (json!({"type": "ExternalName"}), json!([null, null])),
        ];
        for (spec, expected) in cases {
            assert_eq!(settled(&spec, None), (vec![], expected), "{spec}");
        }
        let open = json!({"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]});
        let single = json!({"clusterIP": "None", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]});
        assert_eq!(settled(&single, Some(&open)), (vec![], json!(["SingleStack", ["IPv4"]])));
    }

    #[test]
    fn families_that_the_cluster_has_not_are_refused() {
        let cases = [
            (
                json!({"ipFamilies": ["IPv6"]}),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv6"]}),
                "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            ),
            (
                json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
                "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(settled(&spec, None).0, [expected], "{spec}");
        }
        let old = json!({"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]});
        let new = json!({"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4"]});
        let expected = "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP family";
        assert_eq!(settled(&new, Some(&old)).0, [expected]);
    }
}
