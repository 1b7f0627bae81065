//! What a Service and its pods say about endpoints; shared by EndpointSlices and Endpoints. Pure.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::core::Selector;

use crate::server::controllers::pods;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn address_type(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
    fn has(self, address: &str) -> bool {
        match address.parse() {
            Ok(IpAddr::V4(_)) => self == Self::V4,
            Ok(IpAddr::V6(_)) => self == Self::V6,
            Err(_) => false,
        }
    }
}

pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The selector of a Service whose endpoints we write; `None` where somebody else does, or nobody.
pub fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let labels = spec.selector.clone().filter(|labels| !labels.is_empty())?;
    Some(labels.into_iter().collect())
}

/// The families of a Service, in its order of preference.
pub fn families(service: &Service) -> Vec<Family> {
    let spec = service.spec.clone().unwrap_or_default();
    let named = spec.ip_families.iter().flatten().map(|family| match family.as_str() {
        "IPv6" => Family::V6,
        _ => Family::V4,
    });
    let named: Vec<_> = named.collect();
    match (named.is_empty(), spec.cluster_ip.as_deref()) {
        (false, _) => named,
        (true, Some(ip)) if Family::V6.has(ip) => vec![Family::V6],
        (true, _) => vec![Family::V4],
    }
}

/// The pod's address of a family.
pub fn address(pod: &Pod, family: Family) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).chain(status.pod_ip.as_deref());
    all.into_iter().find(|address| family.has(address))
}

/// Whether the pod is an endpoint at all; those that are terminating only where wanted.
pub fn belongs(pod: &Pod, with_terminating: bool) -> bool {
    let has_address = address(pod, Family::V4).is_some() || address(pod, Family::V6).is_some();
    has_address && !pods::is_terminal(pod) && (with_terminating || !pods::is_deleting(pod))
}

/// The number a Service's port has in this pod; named ports differ from pod to pod.
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let is_sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
            let sidecars = spec.init_containers.iter().flatten().filter(is_sidecar);
            let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
            let mut found = ports.filter(|port| {
                port.name.as_ref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            found.next().map(|port| port.container_port)
        }
    }
}

/// The pod's name in DNS under the Service, where it asks for one.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let under = spec.subdomain.is_some()
        && spec.subdomain == service.metadata.name
        && pod.metadata.namespace == service.metadata.namespace;
    spec.hostname.clone().filter(|hostname| under && !hostname.is_empty())
}

pub fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty())
}

/// Whether the change of a pod can be seen in any endpoint.
pub fn matters(old: &Pod, new: &Pod) -> bool {
    let seen = |pod: &Pod| {
        let addresses = [Family::V4, Family::V6].map(|family| address(pod, family).map(str::to_owned));
        let spec = pod.spec.as_ref();
        let names = spec.map(|spec| (spec.hostname.clone(), spec.subdomain.clone(), spec.node_name.clone()));
        let state = (pods::is_ready(pod), pods::is_deleting(pod), pods::is_terminal(pod));
        (addresses, names, state, pod.metadata.labels.clone())
    };
    seen(old) != seen(new)
}
