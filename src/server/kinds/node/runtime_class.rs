//! RuntimeClass: which container runtime a pod wants.

use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy};

pub struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    type Kind = RuntimeClass;

    fn meta(&self) -> Meta {
        Meta { unconditional_update: false, ..Meta::cluster::<RuntimeClass>("runtimeclasses") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Handler", "The underlying runtime and configuration that runs pods of this class."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &RuntimeClass, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(vec![cell::name(&object.metadata), object.handler.clone().into(), cell::age(&object.metadata, now)])
    }
}
