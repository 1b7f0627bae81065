//! EndpointSlice: some of the addresses behind a Service.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::server::kinds::defaults::absent;
use crate::server::strategy::{Meta, Strategy};

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
}
