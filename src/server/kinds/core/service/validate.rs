//! The rules of Services.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{
    json, labels, named, network, one_of, optional_one_of, port as target_port, port_number, required_name, text,
};

pub fn service(new: &Service, old: Option<&Service>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &new.spec else {
        errors.push(Error::required(&path.child("ports"), ""));
        return errors;
    };
    kind(&mut errors, &path, spec);
    ports(&mut errors, &path, spec);
    labels::labels(&mut errors, &path.child("selector"), spec.selector.as_ref());
    affinity(&mut errors, &path, spec);
    addresses(&mut errors, &path, spec);
    policies(&mut errors, &path, spec);
    if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
        change(&mut errors, &path, spec, before);
    }
    errors
}

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

fn is_headless(spec: &ServiceSpec) -> bool {
    text(&spec.cluster_ip) == "None"
}

fn kind(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let no_ports = spec.ports.as_ref().is_none_or(Vec::is_empty);
    if no_ports && !is_headless(spec) && text(&spec.type_) != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    match text(&spec.type_) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&path.child("clusterIPs").index(0), "None", detail));
        }
        "ExternalName" => {
            if spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty()) {
                errors
                    .push(Error::forbidden(&path.child("clusterIPs"), "may not be set when `type` is 'ExternalName'"));
            }
            let name = text(&spec.external_name);
            let name = name.strip_suffix('.').unwrap_or(name);
            required_name(errors, &path.child("externalName"), name, names::dns1123_subdomain);
        }
        _ => {}
    }
    one_of(errors, &path.child("type"), text(&spec.type_), TYPES);
}

fn ports(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let (mut names, mut sockets, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(at);
        one_port(errors, &path, port, ports.len() > 1, &mut names);
        if !sockets.insert((text(&port.protocol), port.port)) {
            let value = serde_json::json!({"port": port.port, "protocol": port.protocol});
            errors.push(Error::duplicate(&path, value));
        }
        let node_port = port.node_port.unwrap_or(0);
        if node_port == 0 {
            continue;
        }
        if text(&spec.type_) == "ClusterIP" || text(&spec.type_) == "ExternalName" {
            let detail = format!("may not be used when `type` is '{}'", text(&spec.type_));
            errors.push(Error::forbidden(&path.child("nodePort"), detail));
        } else if !node_ports.insert((text(&port.protocol), node_port)) {
            errors.push(Error::duplicate(&path.child("nodePort"), node_port));
        }
    }
}

fn one_port<'a>(
    errors: &mut Errors,
    path: &Path,
    port: &'a ServicePort,
    name_required: bool,
    seen: &mut HashSet<&'a str>,
) {
    let name = text(&port.name);
    if name.is_empty() {
        if name_required {
            errors.push(Error::required(&path.child("name"), ""));
        }
    } else {
        named(errors, &path.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
    }
    port_number(errors, &path.child("port"), port.port);
    one_of(errors, &path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    if let Some(target) = &port.target_port {
        target_port(errors, &path.child("targetPort"), target);
    }
    if let Some(protocol) = &port.app_protocol {
        named(errors, &path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
}

fn affinity(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    const MAX: i32 = 86400;
    one_of(errors, &path.child("sessionAffinity"), text(&spec.session_affinity), &["ClientIP", "None"]);
    let config = path.child("sessionAffinityConfig");
    let client = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    match (text(&spec.session_affinity), client) {
        ("ClientIP", None) => {
            errors.push(Error::required(&config.child("clientIP"), "when session affinity type is ClientIP"));
        }
        ("ClientIP", Some(client)) => {
            let timeout = client.timeout_seconds.unwrap_or(10800);
            if !(1..=MAX).contains(&timeout) {
                let detail = format!("must be greater than 0 and less than {MAX}");
                errors.push(Error::invalid(&config.child("clientIP").child("timeoutSeconds"), timeout, detail));
            }
        }
        ("None", _) if spec.session_affinity_config.is_some() => {
            errors.push(Error::forbidden(&config, "must not be set when session affinity is None"));
        }
        _ => {}
    }
}

fn addresses(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    let here = path.child("clusterIPs");
    if let (Some(first), single) = (ips.first(), text(&spec.cluster_ip))
        && !single.is_empty()
        && single != first
    {
        let detail = "first value must match `clusterIP`";
        errors.push(Error::invalid(&here.index(0), json(&ips), detail));
    }
    for (at, ip) in ips.iter().enumerate() {
        match ip.as_str() {
            "None" if at == 0 && ips.len() > 1 => {
                let detail = "'None' must be the first and only value";
                errors.push(Error::invalid(&here.index(at), "None", detail));
            }
            "None" | "" => {}
            ip => {
                network::ip(errors, &here.index(at), ip);
            }
        }
    }
    for (at, ip) in spec.external_ips.iter().flatten().enumerate() {
        network::endpoint_ip(errors, &path.child("externalIPs").index(at), ip);
    }
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !ranges.is_empty() && text(&spec.type_) != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.push(Error::forbidden(&path.child("LoadBalancerSourceRanges"), detail));
    }
    for (at, range) in ranges.iter().enumerate() {
        network::cidr(errors, &path.child("loadBalancerSourceRanges").index(at), range.trim());
    }
    let families = ["IPv4", "IPv6"];
    for (at, family) in spec.ip_families.iter().flatten().enumerate() {
        one_of(errors, &path.child("ipFamilies").index(at), family, &families);
    }
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    optional_one_of(errors, &path.child("ipFamilyPolicy"), &spec.ip_family_policy, &policies);
}

fn policies(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let kind = text(&spec.type_);
    let external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    let external = matches!(kind, "NodePort" | "LoadBalancer") || kind == "ClusterIP" && external_ips;
    let here = path.child("externalTrafficPolicy");
    match (external, text(&spec.external_traffic_policy)) {
        (true, policy) => one_of(errors, &here, policy, &["Cluster", "Local"]),
        (false, "") => {}
        (false, policy) => {
            let detail = "may only be set for externally-accessible services";
            errors.push(Error::invalid(&here, policy, detail));
        }
    }
    let internal = path.child("internalTrafficPolicy");
    match (kind, &spec.internal_traffic_policy) {
        ("NodePort" | "LoadBalancer" | "ClusterIP", None) => errors.push(Error::required(&internal, "")),
        (_, policy) => optional_one_of(errors, &internal, policy, &["Cluster", "Local"]),
    }
    let health = path.child("healthCheckNodePort");
    let number = spec.health_check_node_port.unwrap_or(0);
    if number < 0 {
        errors.push(Error::invalid(&health, number, "must be a valid port number"));
    } else if number != 0 && !(kind == "LoadBalancer" && text(&spec.external_traffic_policy) == "Local") {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(Error::invalid(&health, number, detail));
    }
    if spec.allocate_load_balancer_node_ports.is_some() && kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.push(Error::forbidden(&path.child("allocateLoadBalancerNodePorts"), detail));
    }
    if spec.load_balancer_class.is_some() && kind != "LoadBalancer" {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.push(Error::forbidden(&path.child("loadBalancerClass"), detail));
    }
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    optional_one_of(errors, &path.child("trafficDistribution"), &spec.traffic_distribution, &distributions);
}

/// The address of a Service stays as long as it has one.
fn change(errors: &mut Errors, path: &Path, new: &ServiceSpec, old: &ServiceSpec) {
    if text(&old.type_) == "ExternalName" || text(&new.type_) == "ExternalName" {
        return;
    }
    let first = |spec: &ServiceSpec| spec.cluster_ips.as_ref().and_then(|ips| ips.first()).cloned();
    let (Some(before), after) = (first(old), first(new)) else { return };
    let here = path.child("clusterIPs").index(0);
    match after {
        None => errors.push(Error::invalid(&here, json(&new.cluster_ips), "primary clusterIP can not be unset")),
        Some(after) if after != before => {
            errors.push(Error::invalid(&here, json(&new.cluster_ips), "may not change once set"));
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Services;
    use super::*;
    use crate::server::strategy::Strategy;
    use crate::server::validation::lines;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": spec});
        let mut object: Service = serde_json::from_value(object).unwrap();
        Services.default(&mut object);
        Services.prepare_create(&mut object);
        object
    }

    #[test]
    fn defaults_are_upstreams() {
        let spec = serde_json::to_value(service(json!({"ports": [{"port": 80}]})).spec).unwrap();
        let expected = json!({
            "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]
        });
        assert_eq!(spec, expected);
        let spec =
            serde_json::to_value(service(json!({"type": "LoadBalancer", "ports": [{"port": 80}]})).spec).unwrap();
        assert_eq!(
            (&spec["externalTrafficPolicy"], &spec["allocateLoadBalancerNodePorts"]),
            (&json!("Cluster"), &json!(true))
        );
    }

    #[test]
    fn bad_services_are_refused() {
        let cases = [
            (json!({"ports": [{"port": 80}]}), vec![]),
            (json!({"clusterIP": "None"}), vec![]),
            (json!({"type": "ExternalName", "externalName": "a.b"}), vec![]),
            (json!({}), vec!["spec.ports: Required value"]),
            (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value"]),
            (
                json!({"type": "X", "ports": [{"port": 80}]}),
                vec![
                    "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            (
                json!({"ports": [{"port": 1}, {"port": 1, "name": "b"}]}),
                vec![
                    "spec.ports[0].name: Required value",
                    "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\"}",
                ],
            ),
            (
                json!({"ports": [{"port": 0, "targetPort": 5}]}),
                vec!["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
            ),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                json!({"clusterIP": "None", "type": "NodePort", "ports": [{"port": 80}]}),
                vec!["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
            ),
            (
                json!({"ports": [{"port": 80}], "externalIPs": ["127.0.0.1"]}),
                vec![
                    "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                ],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(lines(&Services.validate(&service(spec.clone()), None)), expected, "{spec}");
        }
    }

    #[test]
    fn what_was_allocated_stays() {
        let old =
            service(json!({"type": "NodePort", "clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}));
        let updated = |spec: Value| {
            let mut new = service(spec);
            Services.prepare_update(&mut new, &old);
            let errors = lines(&Services.validate(&new, Some(&old)));
            (new.spec.unwrap(), errors)
        };
        let (spec, errors) = updated(json!({"type": "NodePort", "ports": [{"port": 80}]}));
        assert_eq!((errors.len(), spec.cluster_ip.as_deref()), (0, Some("10.0.0.1")));
        assert_eq!(spec.ports.unwrap()[0].node_port, Some(30080));
        let (spec, errors) = updated(json!({"type": "ClusterIP", "ports": [{"port": 80, "nodePort": 30080}]}));
        assert_eq!((errors.len(), spec.ports.unwrap()[0].node_port), (0, None));
        let (spec, errors) = updated(json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.0.0.1"}));
        assert_eq!((errors, spec.cluster_ip), (vec![], None));
        let (_, errors) = updated(json!({"clusterIP": "10.0.0.2", "ports": [{"port": 80}]}));
        assert_eq!(errors, ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]);
    }
}
