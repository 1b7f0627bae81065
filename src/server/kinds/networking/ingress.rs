//! Ingress: HTTP routes to Services.

use k8s_openapi::api::networking::v1::Ingress;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct Ingresses;

impl Strategy for Ingresses {
    type Kind = Ingress;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ing"],
            subresources: const { &[Subresource::status("Ingress")] },
            generation: true,
            ..Meta::namespaced::<Ingress>("ingresses")
        }
    }

    crate::server::kinds::spec_and_status!();
}
