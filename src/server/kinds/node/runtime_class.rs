//! RuntimeClass: which container runtime a pod wants.

use k8s_openapi::api::node::v1::RuntimeClass;

use crate::server::strategy::{Meta, Strategy};

pub struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    type Kind = RuntimeClass;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::cluster::<RuntimeClass>("runtimeclasses") }
    }
}
