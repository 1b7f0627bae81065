//! Event: what happened to an object; kept for an hour, flushed lazily.

use k8s_openapi::api::core::v1::Event;

use crate::server::strategy::{Meta, Strategy};
use crate::store::Durability;

pub struct Events;

impl Strategy for Events {
    type Kind = Event;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ev"],
            create_on_update: true,
            durability: Durability::Relaxed,
            ..Meta::namespaced::<Event>("events")
        }
    }
}
