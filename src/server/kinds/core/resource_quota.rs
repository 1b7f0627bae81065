//! ResourceQuota: limits on what a namespace may use in all.

use k8s_openapi::api::core::v1::ResourceQuota;

use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct ResourceQuotas;

impl Strategy for ResourceQuotas {
    type Kind = ResourceQuota;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["quota"],
            subresources: const { &[Subresource::status("ResourceQuota")] },
            ..Meta::namespaced::<ResourceQuota>("resourcequotas")
        }
    }

    crate::server::kinds::spec_and_status!();
}
