//! Lease: who holds a role until when; node heartbeats. Flushed lazily.

use k8s_openapi::api::coordination::v1::Lease;

use crate::server::strategy::{Meta, Strategy};
use crate::store::Durability;

pub struct Leases;

impl Strategy for Leases {
    type Kind = Lease;

    fn meta(&self) -> Meta {
        Meta {
            create_on_update: true,
            unconditional_update: false,
            durability: Durability::Relaxed,
            ..Meta::namespaced::<Lease>("leases")
        }
    }

    crate::server::kinds::spec_only!();
}
