//! Where a proxied request goes: from `scheme:name:port` to an address, with upstream's words where there is none.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Node, Pod, Service};

use super::super::kubelet;
use crate::api::gvk::GroupResource;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::{Context, Pipeline, random};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

#[derive(Debug)]
pub enum Target {
    /// An address that the node can reach.
    Address { node: String, scheme: Scheme, host: String, port: u16 },
    /// The node's own server.
    Kubelet(Box<Node>),
}

/// A name of the API with what may stand around it.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    scheme: Option<Scheme>,
    name: &'a str,
    port: &'a str,
}

impl Asked<'_> {
    fn scheme(&self) -> Scheme {
        self.scheme.unwrap_or(Scheme::Http)
    }
}

/// `name`, `name:port`, `scheme:name:port`.
fn parse<'a>(kind: &str, id: &'a str) -> Result<Asked<'a>> {
    let parts: Vec<_> = id.split(':').collect();
    let (scheme, name, port) = match parts[..] {
        [name] => ("", name, ""),
        [name, port] => ("", name, port),
        [scheme, name, port] => (scheme, name, port),
        _ => ("?", "", ""),
    };
    let scheme = match scheme {
        "" => Some(None),
        "http" => Some(Some(Scheme::Http)),
        "https" => Some(Some(Scheme::Https)),
        _ => None,
    };
    match scheme {
        Some(scheme) if !name.is_empty() => Ok(Asked { scheme, name, port }),
        _ => Err(Failure::bad_request(format!("invalid {kind} request {id:?}"))),
    }
}

fn resource(resource: &'static str) -> GroupResource<'static> {
    GroupResource { group: "", resource }
}

pub fn of_pod(pipeline: &Pipeline, context: &Context) -> Result<Target> {
    let asked = parse("pod", &context.name)?;
    let found: Option<Pod> = pipeline.reader().get(&context.namespace, asked.name)?;
    let pod = found.ok_or_else(|| Failure::not_found(resource("pods"), asked.name))?;
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default();
    if !is_allowed(&ip) {
        return Err(Failure::bad_request("address not allowed"));
    }
    let port = pod_port(&pod, asked.port, asked.scheme())?;
    Ok(Target::Address { node: node_of(&pod), scheme: asked.scheme(), host: ip, port })
}

fn node_of(pod: &Pod) -> String {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default()
}

/// The port by number, by a container's name for it, or the first that a container declares.
fn pod_port(pod: &Pod, asked: &str, scheme: Scheme) -> Result<u16> {
    let mut ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.ports.iter().flatten());
    let declared = match asked {
        "" => ports.next(),
        _ => ports.find(|port| port.name.as_deref() == Some(asked)),
    };
    let declared = declared.and_then(|port| u16::try_from(port.container_port).ok());
    match (declared, asked) {
        (Some(port), _) => Ok(port),
        (None, "") => Ok(default_port(scheme)),
        (None, text) => number(text),
    }
}

fn default_port(scheme: Scheme) -> u16 {
    if scheme == Scheme::Https { 443 } else { 80 }
}

fn number(text: &str) -> Result<u16> {
    text.parse().map_err(|_| super::unreachable(format!("dial tcp: lookup tcp/{text}: unknown port")))
}

/// Nobody reaches the server's own loopback, or a neighbour on its link, through the API.
fn is_allowed(ip: &str) -> bool {
    // An address of version 4 stays one, however it is written.
    match ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            !(ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_unspecified() || ip.is_broadcast())
        }
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified())
        }
        Err(_) => false,
    }
}

pub fn of_service(pipeline: &Pipeline, context: &Context) -> Result<Target> {
    let asked = parse("service", &context.name)?;
    let reader = pipeline.reader();
    let mut port = asked.port.to_owned();
    if let Ok(wanted) = port.parse::<i64>() {
        let found: Option<Service> = reader.get(&context.namespace, asked.name)?;
        let service = found.ok_or_else(|| Failure::not_found(resource("services"), asked.name))?;
        port = port_name(&service, wanted).ok_or_else(|| {
            Failure::unavailable(format!("no service port {wanted} found for service {:?}", asked.name))
        })?;
    }
    let found: Option<Endpoints> = reader.get(&context.namespace, asked.name)?;
    // As for a Service that is not there: upstream asks for the endpoints only.
    let endpoints = found.ok_or_else(|| Failure::not_found(resource("endpoints"), asked.name))?;
    let subsets = endpoints.subsets.unwrap_or_default();
    let none = |name: &str| Failure::unavailable(format!("no endpoints available for service {name:?}"));
    if subsets.is_empty() {
        return Err(none(asked.name));
    }
    let node = |address: &EndpointAddress| {
        let target = address.target_ref.as_ref()?;
        if target.namespace.as_deref() != Some(context.namespace.as_str()) {
            return None;
        }
        let pod: Pod = reader.get(&context.namespace, target.name.as_deref()?).ok()??;
        let ips = pod.status.as_ref()?.pod_ips.as_ref()?;
        ips.iter().any(|ip| ip.ip == address.ip).then(|| node_of(&pod))
    };
    let seed = usize::from(u16::from_be_bytes(random::bytes()));
    let (host, port, node) = choose(&subsets, &port, seed, node).ok_or_else(|| none(&context.name))?;
    Ok(Target::Address { node, scheme: asked.scheme(), host, port })
}

/// The name of the Service's port with this number.
fn port_name(service: &Service, wanted: i64) -> Option<String> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let found = ports.into_iter().find(|port| i64::from(port.port) == wanted)?;
    Some(found.name.clone().unwrap_or_default())
}

/// An address, beginning at a random one, that has a port of this name and really is a pod's: `node` tells its node.
fn choose(
    subsets: &[EndpointSubset],
    port: &str,
    seed: usize,
    node: impl Fn(&EndpointAddress) -> Option<String>,
) -> Option<(String, u16, String)> {
    for at in 0..subsets.len() {
        let subset = &subsets[(seed + at) % subsets.len()];
        let addresses = subset.addresses.as_deref().unwrap_or_default();
        let mut ports = subset.ports.iter().flatten();
        let Some(found) = ports.find(|known| known.name.as_deref().unwrap_or_default() == port) else { continue };
        let number = u16::try_from(found.port).ok()?;
        let mut turns = (0..addresses.len()).map(|turn| &addresses[(seed + turn) % addresses.len()]);
        if let Some((address, node)) = turns.find_map(|address| Some((address, node(address)?))) {
            return Some((address.ip.clone(), number, node));
        }
    }
    None
}

pub fn of_node(pipeline: &Pipeline, context: &Context) -> Result<Target> {
    let asked = parse("node", &context.name)?;
    let found: Option<Node> = pipeline.reader().get("", asked.name)?;
    let node = found.ok_or_else(|| Failure::not_found(resource("nodes"), asked.name))?;
    let (host, kubelet_port) = kubelet::address(&node)?;
    if asked.port.is_empty() || asked.port == kubelet_port.to_string() {
        return Ok(Target::Kubelet(Box::new(node)));
    }
    if !is_allowed(&host) {
        return Err(Failure::bad_request("address not allowed"));
    }
    let (scheme, port) = (asked.scheme(), number(asked.port)?);
    Ok(Target::Address { node: asked.name.to_owned(), scheme, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_carry_scheme_and_port() {
        let read = |id| parse("pod", id).map(|asked| (asked.scheme, asked.name, asked.port)).ok();
        assert_eq!(read("p"), Some((None, "p", "")));
        assert_eq!(read("p:80"), Some((None, "p", "80")));
        assert_eq!(read("https:p:web"), Some((Some(Scheme::Https), "p", "web")));
        assert_eq!(read(":p:"), Some((None, "p", "")));
        for id in ["", ":80", "ftp:p:80", "a:b:c:d"] {
            let message = parse("pod", id).unwrap_err().message().to_owned();
            assert_eq!(message, format!("invalid pod request {id:?}"));
        }
    }

    #[test]
    fn a_pods_port_is_given_named_or_its_first() {
        let ports = json!([{"name": "web", "containerPort": 8080}, {"name": "more", "containerPort": 9090}]);
        let pod: Pod =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "ports": ports}]}})).unwrap();
        let port = |asked| pod_port(&pod, asked, Scheme::Http).map_err(|failure| failure.message().to_owned());
        assert_eq!((port(""), port("more"), port("81")), (Ok(8080), Ok(9090), Ok(81)));
        let unknown = "error trying to reach service: dial tcp: lookup tcp/nope: unknown port";
        assert_eq!(port("nope"), Err(unknown.to_owned()));
        assert_eq!(pod_port(&Pod::default(), "", Scheme::Https).unwrap(), 443);
    }

    #[test]
    fn loopback_is_nobodys_business() {
        let addresses = ["10.42.0.5", "127.0.0.1", "169.254.1.1", "::1", "fd00::1", "", "::ffff:127.0.0.1"];
        assert_eq!(addresses.map(is_allowed), [true, false, false, false, true, false, false]);
    }

    #[test]
    fn an_endpoint_has_the_port_and_is_a_pods() {
        let subsets: Vec<EndpointSubset> = serde_json::from_value(json!([
            {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "other", "port": 1}]},
            {"addresses": [{"ip": "10.0.0.2"}, {"ip": "10.0.0.3"}], "ports": [{"name": "web", "port": 8080}]},
        ]))
        .unwrap();
        let only_third = |address: &EndpointAddress| (address.ip == "10.0.0.3").then(|| "n".to_owned());
        for seed in 0..4 {
            assert_eq!(choose(&subsets, "web", seed, only_third), Some(("10.0.0.3".into(), 8080, "n".into())));
        }
        assert_eq!(choose(&subsets, "absent", 0, only_third), None);
    }
}
