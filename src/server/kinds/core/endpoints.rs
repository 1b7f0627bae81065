//! Endpoints: the deprecated list of addresses behind a Service.

use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};
use crate::server::validation;

pub struct EndpointsKind;

impl Strategy for EndpointsKind {
    type Kind = Endpoints;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ep"],
            create_on_update: true,
            deprecated: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
            ..Meta::namespaced::<Endpoints>("endpoints")
        }
    }

    fn default(&self, object: &mut Endpoints) {
        let subsets = object.subsets.iter_mut().flatten();
        for port in subsets.flat_map(|subset| subset.ports.iter_mut().flatten()) {
            defaults::text(&mut port.protocol, "TCP");
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Endpoints",
                "The set of all endpoints is the union of all subsets. Addresses are placed into subsets according to the IPs they share. A single address with multiple ports, some of which are ready and some of which are not (because they come from different containers) will result in the address being displayed in different subsets for the different ports. No address will appear in both Addresses and NotReadyAddresses in the same subset. Sets of addresses and ports that comprise a service.",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Endpoints, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let subsets = object.subsets.iter().flatten();
        let shown = cell::three(subsets.flat_map(sockets));
        let nothing = if object.subsets.as_ref().is_none_or(Vec::is_empty) { cell::NONE } else { "" };
        Some(vec![
            cell::name(&object.metadata),
            shown.as_deref().unwrap_or(nothing).into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn warnings(&self, new: &Endpoints, _old: Option<&Endpoints>) -> Vec<String> {
        let mut warnings = Vec::new();
        if new.metadata.labels.as_ref().is_some_and(|labels| labels.get(MANAGED_BY).is_some_and(|by| by == CONTROLLER))
        {
            // It knows what it writes.
            return warnings;
        }
        for (at, subset) in new.subsets.iter().flatten().enumerate() {
            let lists = [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
            for (field, list) in lists {
                for (address_at, address) in list.iter().flatten().enumerate() {
                    let path = Path::new("subsets").index(at).child(field).index(address_at).child("ip");
                    validation::warnings::ip(&mut warnings, &path, &address.ip);
                }
            }
        }
        warnings
    }

    fn validate(&self, new: &Endpoints, _old: Option<&Endpoints>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("subsets");
        for (at, subset) in new.subsets.iter().flatten().enumerate() {
            subset_rules(&mut errors, &path.index(at), subset);
        }
        errors
    }
}

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";

/// Every address with every port; addresses alone where there are no ports.
fn sockets(subset: &EndpointSubset) -> Vec<String> {
    let addresses = subset.addresses.as_deref().unwrap_or_default();
    let ports = subset.ports.as_deref().unwrap_or_default();
    if ports.is_empty() {
        return addresses.iter().map(|address| address.ip.clone()).collect();
    }
    let socket = |ip: &str, port: i32| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    ports.iter().flat_map(|port| addresses.iter().map(move |address| socket(&address.ip, port.port))).collect()
}

fn subset_rules(errors: &mut Errors, path: &Path, subset: &EndpointSubset) {
    let lists = [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)];
    if lists.iter().all(|(_, list)| list.as_ref().is_none_or(Vec::is_empty)) {
        errors.push(Error::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (field, list) in lists {
        for (at, address) in list.iter().flatten().enumerate() {
            let path = path.child(field).index(at);
            validation::network::ip(errors, &path.child("ip"), &address.ip);
            if let Some(name) = address.hostname.as_deref().filter(|name| !name.is_empty()) {
                validation::named(errors, &path.child("hostname"), name, names::dns1123_label(name));
            }
            if let Some(name) = &address.node_name {
                validation::named(errors, &path.child("nodeName"), name, names::dns1123_subdomain(name));
            }
            // Looked at again, and now less strictly.
            match validation::network::sloppy_ip(&address.ip) {
                Some(ip) => validation::network::not_special_ip(errors, &path.child("ip"), ip, &address.ip),
                None => {
                    errors.push(Error::invalid(&path.child("ip"), address.ip.as_str(), "must be a valid IP address"));
                }
            }
        }
    }
    let ports = subset.ports.as_deref().unwrap_or_default();
    for (at, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(at);
        let name = validation::text(&port.name);
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(Error::required(&path.child("name"), ""));
            }
        } else {
            validation::named(errors, &path.child("name"), name, names::dns1123_label(name));
        }
        validation::port_number(errors, &path.child("port"), port.port);
        let protocols = ["SCTP", "TCP", "UDP"];
        validation::one_of(errors, &path.child("protocol"), validation::text(&port.protocol), &protocols);
        if let Some(protocol) = &port.app_protocol {
            validation::named(errors, &path.child("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}
