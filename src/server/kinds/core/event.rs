//! Event: what happened to an object; kept for an hour, flushed lazily.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use crate::api::field::Errors;
use crate::server::kinds::event;
use crate::server::strategy::{Column, Fields, Meta, Strategy};
use crate::server::validation;
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

    fn validate(&self, new: &Event, _old: Option<&Event>) -> Errors {
        let mut errors = Errors::new();
        validation::event::legacy(&mut errors, new);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        event::COLUMNS
    }

    fn cells(&self, object: &Event, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(event::cells(object, now))
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn fields<'a>(&self, object: &'a Event) -> Fields<'a> {
        let about = &object.involved_object;
        let text = |field: &'a Option<String>| Cow::from(field.as_deref().unwrap_or_default());
        let component = object.source.as_ref().and_then(|source| source.component.as_deref());
        let source = component.filter(|name| !name.is_empty()).or(object.reporting_component.as_deref());
        vec![
            ("involvedObject.kind", text(&about.kind)),
            ("involvedObject.namespace", text(&about.namespace)),
            ("involvedObject.name", text(&about.name)),
            ("involvedObject.uid", text(&about.uid)),
            ("involvedObject.apiVersion", text(&about.api_version)),
            ("involvedObject.resourceVersion", text(&about.resource_version)),
            ("involvedObject.fieldPath", text(&about.field_path)),
            ("reason", text(&object.reason)),
            ("reportingComponent", text(&object.reporting_component)),
            ("source", Cow::from(source.unwrap_or_default())),
            ("type", text(&object.type_)),
        ]
    }
}
