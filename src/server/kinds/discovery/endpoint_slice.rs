//! EndpointSlice: some of the addresses behind a Service.

use k8s_openapi::api::discovery::v1::EndpointSlice;

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
}
