//! EndpointSlice: some of the addresses behind a Service.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::absent;
use crate::server::strategy::{Column, Meta, Strategy};

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
}
