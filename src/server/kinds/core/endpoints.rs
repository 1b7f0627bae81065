//! Endpoints: the deprecated list of addresses behind a Service.

use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints};
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct EndpointsKind;

impl Strategy for EndpointsKind {
    type Kind = Endpoints;

    fn meta(&self) -> Meta {
        Meta { short_names: &["ep"], create_on_update: true, ..Meta::namespaced::<Endpoints>("endpoints") }
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
            Column::string("Endpoints", "The set of all endpoints is the union of all subsets."),
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
}

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
