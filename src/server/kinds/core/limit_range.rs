//! LimitRange: bounds and defaults of resources in a namespace.

use k8s_openapi::api::core::v1::LimitRange;

use crate::server::strategy::{Meta, Strategy};

pub struct LimitRanges;

impl Strategy for LimitRanges {
    type Kind = LimitRange;

    fn meta(&self) -> Meta {
        Meta { short_names: &["limits"], create_on_update: true, ..Meta::namespaced::<LimitRange>("limitranges") }
    }

    crate::server::kinds::spec_only!();
}
