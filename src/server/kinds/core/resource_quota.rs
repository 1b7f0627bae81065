//! ResourceQuota: limits on what a namespace may use in all.

use k8s_openapi::api::core::v1::ResourceQuota;

use crate::server::kinds::defaults;
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

    fn default(&self, object: &mut ResourceQuota) {
        if let Some(spec) = &mut object.spec {
            defaults::quantities(&mut spec.hard);
        }
        if let Some(status) = &mut object.status {
            defaults::quantities(&mut status.hard);
            defaults::quantities(&mut status.used);
        }
    }
}
