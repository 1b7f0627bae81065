//! Event of events.k8s.io: the core Event under other field names, and stored as it.

use std::borrow::Cow;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use crate::api::field::Errors;
use crate::api::object::Object;
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
            stored_as: Some(("", "events")),
            ..Meta::namespaced::<Event>("events")
        }
    }

    fn to_stored(&self, object: &Event) -> Option<Box<dyn Object>> {
        Some(Box::new(to_core(object.clone())))
    }

    fn read_stored(&self, json: &[u8]) -> serde_json::Result<Event> {
        serde_json::from_slice(json).map(from_core)
    }

    fn validate(&self, new: &Event, old: Option<&Event>) -> Errors {
        let mut errors = Errors::new();
        let event = to_core(new.clone());
        validation::event::legacy(&mut errors, &event);
        match old {
            None => validation::event::strict_create(&mut errors, &event),
            Some(old) => validation::event::strict_update(&mut errors, &event, &to_core(old.clone())),
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        event::COLUMNS
    }

    fn cells(&self, object: &Event, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(event::cells(&to_core(object.clone()), now))
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ]
    }

    fn fields<'a>(&self, object: &'a Event) -> Fields<'a> {
        let about = object.regarding.as_ref();
        let text = |field: Option<&'a String>| Cow::from(field.map_or("", String::as_str));
        vec![
            ("regarding.kind", text(about.and_then(|about| about.kind.as_ref()))),
            ("regarding.namespace", text(about.and_then(|about| about.namespace.as_ref()))),
            ("regarding.name", text(about.and_then(|about| about.name.as_ref()))),
            ("regarding.uid", text(about.and_then(|about| about.uid.as_ref()))),
            ("regarding.apiVersion", text(about.and_then(|about| about.api_version.as_ref()))),
            ("regarding.resourceVersion", text(about.and_then(|about| about.resource_version.as_ref()))),
            ("regarding.fieldPath", text(about.and_then(|about| about.field_path.as_ref()))),
            ("reason", text(object.reason.as_ref())),
            ("reportingController", text(object.reporting_controller.as_ref())),
            ("type", text(object.type_.as_ref())),
        ]
    }
}

fn to_core(event: Event) -> core::Event {
    core::Event {
        metadata: event.metadata,
        action: event.action,
        count: event.deprecated_count,
        event_time: event.event_time,
        first_timestamp: event.deprecated_first_timestamp,
        involved_object: event.regarding.unwrap_or_default(),
        last_timestamp: event.deprecated_last_timestamp,
        message: event.note,
        reason: event.reason,
        related: event.related,
        reporting_component: event.reporting_controller,
        reporting_instance: event.reporting_instance,
        series: event.series.map(|series| core::EventSeries {
            count: Some(series.count),
            last_observed_time: Some(series.last_observed_time),
        }),
        source: event.deprecated_source,
        type_: event.type_,
    }
}

fn from_core(event: core::Event) -> Event {
    let never = || MicroTime(jiff::Timestamp::UNIX_EPOCH);
    Event {
        metadata: event.metadata,
        action: event.action,
        deprecated_count: event.count,
        deprecated_first_timestamp: event.first_timestamp,
        deprecated_last_timestamp: event.last_timestamp,
        deprecated_source: event.source,
        event_time: event.event_time,
        note: event.message,
        reason: event.reason,
        regarding: Some(event.involved_object),
        related: event.related,
        reporting_controller: event.reporting_component.filter(|name| !name.is_empty()),
        reporting_instance: event.reporting_instance.filter(|name| !name.is_empty()),
        series: event.series.map(|series| EventSeries {
            count: series.count.unwrap_or_default(),
            last_observed_time: series.last_observed_time.unwrap_or_else(never),
        }),
        type_: event.type_,
    }
}
