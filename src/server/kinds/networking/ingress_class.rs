//! IngressClass: which controller implements an Ingress.

use k8s_openapi::api::networking::v1::IngressClass;

use crate::server::strategy::{Meta, Strategy};

pub struct IngressClasses;

impl Strategy for IngressClasses {
    type Kind = IngressClass;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<IngressClass>("ingressclasses") }
    }

    crate::server::kinds::spec_only!();
}
