//! Binding: create-only; assigning a pod to a node. Served by `server::subresource`.

use k8s_openapi::api::core::v1::Binding;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct Bindings;

impl Strategy for Bindings {
    type Kind = Binding;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::namespaced::<Binding>("bindings") }
    }
}
