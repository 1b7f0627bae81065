//! ComponentStatus: deprecated and virtual; made by the API server from its own health, never stored.

use k8s_openapi::api::core::v1::ComponentStatus;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct ComponentStatuses;

impl Strategy for ComponentStatuses {
    type Kind = ComponentStatus;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["cs"],
            verbs: &[Verb::Get, Verb::List, Verb::Watch],
            ..Meta::cluster::<ComponentStatus>("componentstatuses")
        }
    }
}
