//! Services and EndpointSlices cut down to what a node needs of them. Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service as ApiService, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice as ApiSlice;
use kube::ResourceExt;

use crate::net::nft::model::Protocol;

/// Somebody else's proxy serves what has this label.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// Nothing to be proxied, whatever else it says.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// A Service as a node needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Empty for a headless or external-name Service.
    pub cluster_ips: Vec<IpAddr>,
    pub external_ips: Vec<IpAddr>,
    /// Addresses of a load balancer that leave the packet's destination as it is.
    pub balancer_ips: Vec<IpAddr>,
    /// Who may use these addresses; empty is everybody.
    pub balancer_sources: Vec<Ipv4Net>,
    pub headless: bool,
    pub external_name: Option<String>,
    pub ports: Vec<ServicePort>,
    /// Seconds for which a client keeps its endpoint.
    pub affinity: Option<u32>,
    pub internal_local: bool,
    pub external_local: bool,
    /// Where load balancers ask whether this node has endpoints.
    pub health_port: Option<u16>,
    /// Whether it is marked as not for the node's proxy.
    pub other_proxy: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// One EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
    /// Whether it is marked as not for the node's proxy.
    pub other_proxy: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: IpAddr,
    pub hostname: Option<Box<str>>,
    pub node: Option<Arc<str>>,
    pub hints: Option<Box<Hints>>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}

/// From where an endpoint should be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub zones: Vec<String>,
    pub nodes: Vec<String>,
}

pub fn service(service: &ApiService) -> Service {
    let Some(spec) = &service.spec else { return Service::default() };
    let is_external_name = spec.type_.as_deref() == Some("ExternalName");
    let cluster_ips = match &spec.cluster_ips {
        Some(all) if !all.is_empty() => all.clone(),
        _ => spec.cluster_ip.iter().cloned().collect(),
    };
    let addresses = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<IpAddr>>();
    let sources = spec.load_balancer_source_ranges.iter().flatten();
    Service {
        headless: cluster_ips.first().is_some_and(|ip| ip == "None"),
        external_name: if is_external_name { spec.external_name.clone() } else { None },
        cluster_ips: if is_external_name { Vec::new() } else { addresses(&cluster_ips) },
        external_ips: addresses(spec.external_ips.as_deref().unwrap_or_default()),
        balancer_ips: balancer_ips(service),
        balancer_sources: sources.filter_map(|range| Some(range.trim().parse::<Ipv4Net>().ok()?.trunc())).collect(),
        ports: spec.ports.iter().flatten().filter_map(service_port).collect(),
        affinity: affinity(spec),
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        health_port: health_port(spec),
        other_proxy: is_for_others(service.labels()),
    }
}

fn balancer_ips(service: &ApiService) -> Vec<IpAddr> {
    let ingress = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|b| b.ingress.as_deref());
    let kept = ingress.unwrap_or_default().iter().filter(|it| it.ip_mode.as_deref() != Some("Proxy"));
    kept.filter_map(|it| it.ip.as_ref()?.parse().ok()).collect()
}

fn service_port(port: &k8s_openapi::api::core::v1::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"))?,
        port: u16::try_from(port.port).ok()?,
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
    })
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    const DEFAULT: u32 = 10_800;
    let timeout = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref()?.timeout_seconds);
    (spec.session_affinity.as_deref() == Some("ClientIP"))
        .then(|| timeout.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(DEFAULT))
}

fn health_port(spec: &ServiceSpec) -> Option<u16> {
    let asked =
        spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local");
    spec.health_check_node_port.filter(|_| asked).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn is_for_others(labels: &BTreeMap<String, String>) -> bool {
    labels.contains_key(OTHER_PROXY) || labels.contains_key(HEADLESS)
}

pub fn slice(slice: &ApiSlice) -> Slice {
    let ports = slice.ports.iter().flatten().filter_map(|it| {
        Some(EndpointPort {
            name: it.name.clone().unwrap_or_default(),
            protocol: Protocol::parse(it.protocol.as_deref().unwrap_or("TCP"))?,
            port: u16::try_from(it.port?).ok()?,
        })
    });
    let endpoints = slice.endpoints.iter().flatten().filter_map(|it| {
        // Consumers use only the first address (EndpointSlice's documentation); unknown readiness means ready.
        let conditions = it.conditions.clone().unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        Some(Endpoint {
            address: it.addresses.first()?.parse().ok()?,
            hostname: it.hostname.as_deref().map(Into::into),
            node: it.node_name.as_deref().map(Into::into),
            hints: it.hints.as_ref().map(hints),
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
        })
    });
    Slice { ports: ports.collect(), endpoints: endpoints.collect(), other_proxy: is_for_others(slice.labels()) }
}

fn hints(hints: &k8s_openapi::api::discovery::v1::EndpointHints) -> Box<Hints> {
    Box::new(Hints {
        zones: hints.for_zones.iter().flatten().map(|it| it.name.clone()).collect(),
        nodes: hints.for_nodes.iter().flatten().map(|it| it.name.clone()).collect(),
    })
}

/// The IPv4 ones among addresses.
pub fn ipv4(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}
