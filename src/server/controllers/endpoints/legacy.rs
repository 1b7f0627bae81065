//! The Endpoints object of a Service, for clients that do not read EndpointSlices. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};

use super::service;
use super::slices::HEADLESS;
use crate::server::controllers::pods;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const US: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// No more addresses than this; slices have them all.
const MOST: usize = 1000;

/// What the object should be; `existing` gives what is not ours to decide.
pub fn desired(service: &Service, pods: &[Arc<Pod>], existing: Option<&Endpoints>) -> Endpoints {
    let mut endpoints = existing.cloned().unwrap_or_default();
    endpoints.metadata.name = service.metadata.name.clone();
    endpoints.metadata.namespace = service.metadata.namespace.clone();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), US.to_owned());
    match service::is_headless(service) {
        true => labels.insert(HEADLESS.to_owned(), String::new()),
        false => labels.remove(HEADLESS),
    };
    endpoints.metadata.labels = Some(labels);
    let mut subsets = subsets(service, pods);
    let truncated = truncate(&mut subsets);
    let annotations = endpoints.metadata.annotations.get_or_insert_default();
    match truncated {
        true => annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned()),
        false => annotations.remove(OVER_CAPACITY),
    };
    endpoints.metadata.annotations = endpoints.metadata.annotations.take().filter(|all| !all.is_empty());
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    endpoints
}

/// Addresses of one combination of ports.
#[derive(Default)]
struct Addresses {
    ready: Vec<EndpointAddress>,
    not_ready: Vec<EndpointAddress>,
}

/// One subset for each combination of ports, with every address that has it.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let publish = service::publishes_not_ready(service);
    let family = service::families(service)[0];
    let mut by_ports: BTreeMap<Vec<PortKey>, Addresses> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| service::belongs(pod, publish)) {
        let Some(ip) = service::address(pod, family) else { continue };
        let ports = ports(service, pod);
        if ports.is_empty() && !service::is_headless(service) {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.to_owned(),
            hostname: service::hostname(pod, service),
            node_name: service::node_name(pod).map(str::to_owned),
            target_ref: Some(service::target_ref(pod)),
        };
        let subset = by_ports.entry(ports).or_default();
        let list = if publish || pods::is_ready(pod) { &mut subset.ready } else { &mut subset.not_ready };
        list.push(address);
    }
    by_ports.into_iter().map(|(ports, addresses)| subset(ports, addresses)).collect()
}

/// Name, number, protocol, application protocol: in the order ports are sorted by.
type PortKey = (String, i32, String, Option<String>);

fn ports(service: &Service, pod: &Pod) -> Vec<PortKey> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let ports = ports.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let number = service::target_port(port, pod)?;
        Some((port.name.clone().unwrap_or_default(), number, protocol, port.app_protocol.clone()))
    });
    let mut ports: Vec<_> = ports.collect();
    ports.sort();
    ports
}

fn subset(ports: Vec<PortKey>, mut addresses: Addresses) -> EndpointSubset {
    let by_uid =
        |address: &EndpointAddress| (address.ip.clone(), address.target_ref.as_ref().and_then(|t| t.uid.clone()));
    addresses.ready.sort_by_key(by_uid);
    addresses.not_ready.sort_by_key(by_uid);
    let ports = ports.into_iter().map(|(name, port, protocol, app_protocol)| EndpointPort {
        name: Some(name).filter(|name| !name.is_empty()),
        port,
        protocol: Some(protocol),
        app_protocol,
    });
    let ports: Vec<_> = ports.collect();
    let some = |list: Vec<EndpointAddress>| (!list.is_empty()).then_some(list);
    EndpointSubset {
        addresses: some(addresses.ready),
        not_ready_addresses: some(addresses.not_ready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// Cuts to the most addresses, ready ones first; whether there were more.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let count = |subset: &EndpointSubset| {
        let length = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
        length(&subset.addresses) + length(&subset.not_ready_addresses)
    };
    if subsets.iter().map(count).sum::<usize>() <= MOST {
        return false;
    }
    let mut room = MOST;
    let mut cut = |list: &mut Option<Vec<EndpointAddress>>| {
        if let Some(addresses) = list {
            addresses.truncate(room);
            room -= addresses.len();
        }
        *list = list.take().filter(|addresses| !addresses.is_empty());
    };
    subsets.iter_mut().for_each(|subset| cut(&mut subset.addresses));
    subsets.iter_mut().for_each(|subset| cut(&mut subset.not_ready_addresses));
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    true
}

/// Whether this controller wrote the object; others' are not deleted with the Service.
pub fn is_ours(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).map(String::as_str) == Some(US)
}

/// Whether writing `new` would tell anybody anything.
pub fn same(old: &Endpoints, new: &Endpoints) -> bool {
    let (a, b) = (&old.metadata, &new.metadata);
    a.labels == b.labels && a.annotations == b.annotations && subsets_map(old) == subsets_map(new)
}

/// Subsets compare as sets: the order of what others wrote does not matter.
fn subsets_map(endpoints: &Endpoints) -> HashMap<String, String> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets.map(|subset| (format!("{:?}", subset.ports), format!("{subset:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodCondition, PodStatus, ServicePort, ServiceSpec};

    use super::*;

    fn service(cluster_ip: &str, ports: &[i32]) -> Service {
        let ports = ports.iter().map(|port| ServicePort { port: *port, ..ServicePort::default() }).collect();
        let cluster_ip = Some(cluster_ip.to_owned());
        Service {
            spec: Some(ServiceSpec { cluster_ip, ports: Some(ports), ..ServiceSpec::default() }),
            ..Service::default()
        }
    }

    fn pod(ip: String, ready: bool) -> Arc<Pod> {
        let status = if ready { "True" } else { "False" }.to_owned();
        let ready = PodCondition { type_: "Ready".to_owned(), status, ..PodCondition::default() };
        let status = PodStatus { pod_ip: Some(ip), conditions: Some(vec![ready]), ..PodStatus::default() };
        Arc::new(Pod { status: Some(status), ..Pod::default() })
    }

    fn addresses(list: &Option<Vec<EndpointAddress>>) -> Vec<&str> {
        list.iter().flatten().map(|address| address.ip.as_str()).collect()
    }

    #[test]
    fn ready_and_not() {
        let pods =
            [pod("10.0.0.2".to_owned(), true), pod("10.0.0.1".to_owned(), true), pod("10.0.0.3".to_owned(), false)];
        let endpoints = desired(&service("10.43.0.1", &[80]), &pods, None);
        let [subset] = &endpoints.subsets.expect("there")[..] else { panic!("one subset") };
        assert_eq!(addresses(&subset.addresses), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(addresses(&subset.not_ready_addresses), ["10.0.0.3"]);
        let labels = endpoints.metadata.labels.expect("there");
        assert_eq!(labels.get(MANAGED_BY).map(String::as_str), Some(US));
        assert!(!labels.contains_key(HEADLESS));
    }

    #[test]
    fn headless_needs_no_ports() {
        let pods = [pod("10.0.0.1".to_owned(), true)];
        let endpoints = desired(&service("None", &[]), &pods, None);
        assert_eq!(endpoints.subsets.expect("there")[0].ports, None);
        assert!(endpoints.metadata.labels.expect("there").contains_key(HEADLESS));
        assert_eq!(desired(&service("10.43.0.1", &[]), &pods, None).subsets, None);
    }

    #[test]
    fn too_many_are_cut_and_said_so() {
        let pods: Vec<_> = (0..1200).map(|n| pod(format!("10.0.{}.{}", n / 200, n % 200), n % 2 == 0)).collect();
        let endpoints = desired(&service("10.43.0.1", &[80]), &pods, None);
        let subsets = endpoints.subsets.clone().expect("there");
        assert_eq!(
            (addresses(&subsets[0].addresses).len(), addresses(&subsets[0].not_ready_addresses).len()),
            (600, 400)
        );
        assert_eq!(
            endpoints.metadata.annotations.as_ref().and_then(|a| a.get(OVER_CAPACITY)).map(String::as_str),
            Some("truncated")
        );
        let fewer = desired(&service("10.43.0.1", &[80]), &pods[..3], Some(&endpoints));
        assert_eq!(fewer.metadata.annotations, None);
    }
}
