//! EndpointSlice: some of the addresses behind a Service.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::defaults::absent;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct EndpointSlices;

impl Strategy for EndpointSlices {
    type Kind = EndpointSlice;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::namespaced::<EndpointSlice>("endpointslices") }
    }

    fn same_spec(&self, new: &EndpointSlice, old: &EndpointSlice) -> bool {
        // The labels count: the owning controller keeps its own facts in them.
        new.endpoints == old.endpoints && new.ports == old.ports && new.metadata.labels == old.metadata.labels
    }

    fn prepare_create(&self, object: &mut EndpointSlice) {
        // A field of v1beta1, which v1 only keeps.
        for endpoint in object.endpoints.iter_mut().flatten() {
            endpoint.deprecated_topology = None;
        }
    }

    fn default(&self, object: &mut EndpointSlice) {
        for port in object.ports.iter_mut().flatten() {
            absent(&mut port.name, String::new());
            absent(&mut port.protocol, "TCP".to_owned());
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("AddressType", "addressType specifies the type of address carried by this EndpointSlice."),
            Column::string(
                "Ports",
                "ports specifies the list of network ports exposed by each endpoint in this slice.",
            ),
            Column::string("Endpoints", "endpoints is a list of unique endpoints in this slice."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &EndpointSlice, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let ports = object.ports.iter().flatten();
        let ports = cell::three(ports.map(|port| port.port.map_or_else(|| "*".to_owned(), |port| port.to_string())));
        let addresses = object.endpoints.iter().flatten().flat_map(|endpoint| endpoint.addresses.iter().cloned());
        let addresses = cell::three(addresses);
        Some(vec![
            cell::name(&object.metadata),
            object.address_type.clone().into(),
            ports.as_deref().unwrap_or(cell::UNSET).into(),
            addresses.as_deref().unwrap_or(cell::UNSET).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &EndpointSlice, old: Option<&EndpointSlice>) -> Errors {
        let mut errors = Errors::new();
        let kinds = ["FQDN", "IPv4", "IPv6"];
        validation::one_of(&mut errors, &Path::new("addressType"), &new.address_type, &kinds);
        endpoints(&mut errors, &Path::new("endpoints"), new);
        ports(&mut errors, &Path::new("ports"), new);
        if let Some(old) = old {
            validation::immutable(&mut errors, &Path::new("addressType"), &new.address_type, &old.address_type);
        }
        errors
    }

    fn warnings(&self, new: &EndpointSlice, old: Option<&EndpointSlice>) -> Vec<String> {
        let named = old.is_none() && new.address_type == "FQDN";
        named.then(|| "addressType: FQDN endpoints are deprecated".to_owned()).into_iter().collect()
    }
}

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20_000;
const HINTS_MAX: usize = 8;

fn endpoints(errors: &mut Errors, path: &Path, slice: &EndpointSlice) {
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(Error::too_many(path, endpoints.len(), ENDPOINTS_MAX));
        return;
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(at);
        let here = path.child("addresses");
        match endpoint.addresses.len() {
            0 => errors.push(Error::required(&here, "must contain at least 1 address")),
            count if count > ADDRESSES_MAX => errors.push(Error::too_many(&here, count, ADDRESSES_MAX)),
            _ => {}
        }
        for (at, address) in endpoint.addresses.iter().enumerate() {
            let here = here.index(at);
            match slice.address_type.as_str() {
                "FQDN" => {
                    let problems = names::fully_qualified_domain_name(address);
                    validation::named(errors, &here, address, problems);
                }
                family => address_of(errors, &here, address, family),
            }
        }
        if let Some(node) = &endpoint.node_name {
            validation::named(errors, &path.child("nodeName"), node, names::dns1123_subdomain(node));
        }
        if let Some(name) = endpoint.hostname.as_deref().filter(|name| !name.is_empty()) {
            validation::named(errors, &path.child("hostname"), name, names::dns1123_label(name));
        }
        if let Some(hints) = &endpoint.hints {
            let zones: Vec<_> = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str()).collect();
            hinted(errors, &path.child("hints").child("forZones"), &zones, names::label_value);
            let nodes: Vec<_> = hints.for_nodes.iter().flatten().map(|node| node.name.as_str()).collect();
            hinted(errors, &path.child("hints").child("forNodes"), &nodes, names::dns1123_subdomain);
        }
    }
}

/// Where an endpoint should be used: a few names, each once.
fn hinted(errors: &mut Errors, path: &Path, given: &[&str], check: fn(&str) -> names::Problems) {
    if given.len() > HINTS_MAX {
        errors.push(Error::too_many(path, given.len(), HINTS_MAX));
        return;
    }
    for (at, name) in given.iter().enumerate() {
        let path = path.index(at).child("name");
        if given[..at].contains(name) {
            errors.push(Error::duplicate(&path, *name));
        }
        validation::named(errors, &path, name, check(name));
    }
}

fn address_of(errors: &mut Errors, path: &Path, address: &str, family: &str) {
    let wrong = match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => family == "IPv6",
        Ok(std::net::IpAddr::V6(_)) => family == "IPv4",
        Err(_) => false,
    };
    if wrong {
        errors.push(Error::invalid(path, address, format!("must be an {family} address")));
    }
    validation::network::endpoint_ip(errors, path, address);
}

fn ports(errors: &mut Errors, path: &Path, slice: &EndpointSlice) {
    let ports = slice.ports.as_deref().unwrap_or_default();
    if ports.len() > PORTS_MAX {
        errors.push(Error::too_many(path, ports.len(), PORTS_MAX));
        return;
    }
    let mut seen = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = validation::text(&port.name);
        if !name.is_empty() {
            validation::named(errors, &path.child("name"), name, names::dns1123_label(name));
        }
        if seen.contains(&name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        seen.push(name);
        let protocols = ["SCTP", "TCP", "UDP"];
        validation::one_of(errors, &path.child("protocol"), validation::text(&port.protocol), &protocols);
        if let Some(protocol) = &port.app_protocol {
            validation::named(errors, &path.child("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::json;

    #[test]
    fn slices_are_checked() {
        let cases = [
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
                vec![],
            ),
            (
                json!({"addressType": "X", "endpoints": []}),
                vec!["addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""],
            ),
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": []}]}),
                vec!["endpoints[0].addresses: Required value: must contain at least 1 address"],
            ),
            (
                json!({"addressType": "IPv6", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
                vec!["endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
            ),
            (
                json!({"addressType": "IPv4", "endpoints": [], "ports": [{"port": 1}, {"port": 2}]}),
                vec!["ports[1].name: Duplicate value: \"\""],
            ),
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"],
                    "hints": {"forZones": [{"name": "a"}, {"name": "a"}]}}]}),
                vec!["endpoints[0].hints.forZones[1].name: Duplicate value: \"a\""],
            ),
        ];
        for (mut given, expected) in cases {
            given["metadata"] = json!({"name": "x"});
            let mut slice: EndpointSlice = serde_json::from_value(given.clone()).unwrap();
            EndpointSlices.default(&mut slice);
            assert_eq!(lines(&EndpointSlices.validate(&slice, None)), expected, "{given}");
        }
    }
}
