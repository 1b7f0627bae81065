//! IngressClass: which controller implements an Ingress.

use k8s_openapi::api::networking::v1::IngressClass;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy};

pub struct IngressClasses;

impl Strategy for IngressClasses {
    type Kind = IngressClass;

    fn meta(&self) -> Meta {
        Meta { generation: true, ..Meta::cluster::<IngressClass>("ingressclasses") }
    }

    crate::server::kinds::spec_only!();

    fn default(&self, object: &mut IngressClass) {
        let Some(parameters) = object.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) else { return };
        defaults::text(&mut parameters.scope, "Cluster");
    }
}
