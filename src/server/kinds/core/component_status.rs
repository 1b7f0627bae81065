//! ComponentStatus: deprecated and virtual; made by the API server from its own health, never stored.

use k8s_openapi::api::core::v1::ComponentStatus;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Verb};

pub struct ComponentStatuses;

impl Strategy for ComponentStatuses {
    type Kind = ComponentStatus;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["cs"],
            verbs: &[Verb::Get, Verb::List],
            deprecated: Some("v1 ComponentStatus is deprecated in v1.19+"),
            ..Meta::cluster::<ComponentStatus>("componentstatuses")
        }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Status", "Status of the component conditions"),
            Column::string("Message", "Message of the component conditions"),
            Column::string("Error", "Error of the component conditions"),
        ];
        COLUMNS
    }

    fn cells(&self, object: &ComponentStatus, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        let healthy = object.conditions.iter().flatten().find(|condition| condition.type_ == "Healthy");
        let status = match healthy.map(|condition| condition.status.as_str()) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        let message = healthy.and_then(|condition| condition.message.clone());
        let error = healthy.and_then(|condition| condition.error.clone());
        Some(vec![cell::name(&object.metadata), status.into(), cell::text(&message), cell::text(&error)])
    }
}
