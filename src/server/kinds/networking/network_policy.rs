//! NetworkPolicy: who may talk to which pods.

use k8s_openapi::api::networking::v1::NetworkPolicy;

use crate::server::strategy::{Meta, Strategy};

pub struct NetworkPolicies;

impl Strategy for NetworkPolicies {
    type Kind = NetworkPolicy;

    fn meta(&self) -> Meta {
        Meta { short_names: &["netpol"], generation: true, ..Meta::namespaced::<NetworkPolicy>("networkpolicies") }
    }

    crate::server::kinds::spec_only!();
}
