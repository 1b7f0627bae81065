//! Events as `kubectl get events` shows them, whichever of the two groups is asked for.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::Value;

use super::cell;
use crate::api::duration;
use crate::server::strategy::Column;

pub const COLUMNS: &[Column] = &[
    Column::string("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
    Column::string("Type", "Type of this event (Normal, Warning), new types could be added in the future"),
    Column::string("Reason", "This should be a short, machine understandable string that gives the reason for the transition into the object's current status."),
    Column::string("Object", "The object that this event is about."),
    Column::string("Subobject", "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers\\[2\\]. For example, if the object reference is to a container within a pod, this would take on a value like: \"spec.containers{name}\" (where \"name\" refers to the name of the container that triggered the event) or if no container name is specified \"spec.containers\\[2\\]\" (container with index 2 in this pod). This syntax is chosen only to have some well-defined way of referencing a part of an object.").wide(),
    Column::string("Source", "The component reporting this event. Should be a short machine understandable string.").wide(),
    Column::string("Message", "A human-readable description of the status of this operation."),
    Column::string("First Seen", "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)").wide(),
    Column::string("Count", "The number of times this event has occurred.").wide(),
    Column { priority: 1, ..Column::NAME },
];

pub fn cells(event: &Event, now: Timestamp) -> Vec<Value> {
    let micro = |time: Option<&MicroTime>| duration::age(time.map(|time| time.0), now);
    let first = match &event.first_timestamp {
        Some(time) => cell::since(Some(time), now),
        None => micro(event.event_time.as_ref()),
    };
    let (last, count) = match &event.series {
        Some(series) => (micro(series.last_observed_time.as_ref()), series.count.unwrap_or(0)),
        None => {
            let last = event.last_timestamp.as_ref().map(|time| cell::since(Some(time), now));
            (last.unwrap_or_else(|| first.clone()), event.count.unwrap_or(0).max(1))
        }
    };
    let about = &event.involved_object;
    let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
    let object = match about.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{kind}/{name}"),
        None => kind,
    };
    vec![
        last.into(),
        cell::text(&event.type_),
        cell::text(&event.reason),
        object.into(),
        cell::text(&about.field_path),
        source(event).into(),
        event.message.as_deref().unwrap_or_default().trim().into(),
        first.into(),
        count.into(),
        cell::name(&event.metadata),
    ]
}

/// The component, and the machine it ran on.
fn source(event: &Event) -> String {
    let source = event.source.clone().unwrap_or_default();
    let pick = |old: Option<String>, new: &Option<String>| old.filter(|text| !text.is_empty()).or_else(|| new.clone());
    let component = pick(source.component, &event.reporting_component);
    let host = pick(source.host, &event.reporting_instance);
    let parts: Vec<_> = component.into_iter().chain(host).filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}
