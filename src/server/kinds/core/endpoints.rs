//! Endpoints: the deprecated list of addresses behind a Service.

use k8s_openapi::api::core::v1::Endpoints;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy};

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
}
