//! Events: since there are two groups for the same stored object, every event meets the older rules, and one that
//! comes through events.k8s.io the stricter ones besides. All paths are the core Event's.

use k8s_openapi::api::core::v1::Event;

use super::{immutable, named, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const WORD_MAX: usize = 128;
const NOTE_MAX: usize = 1024;
const UNSET: &str = "needs to be unset";

/// What both groups ask for.
pub fn legacy(errors: &mut Errors, event: &Event) {
    let namespace = text(&event.metadata.namespace);
    let about = text(&event.involved_object.namespace);
    let strict = event.event_time.is_some();
    let agrees = match (strict, about) {
        (false, "") => ["", "default"].contains(&namespace),
        (false, about) => about == namespace,
        (true, "") => ["default", "kube-system"].contains(&namespace),
        (true, _) => true,
    };
    if !agrees {
        let path = Path::new("involvedObject").child("namespace");
        errors.push(Error::invalid(&path, about, "does not match event.namespace"));
    }
    if strict {
        let controller = text(&event.reporting_component);
        let path = Path::new("reportingController");
        if controller.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        named(errors, &path, controller, names::qualified_name(controller));
        for (field, value) in
            [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)]
        {
            if text(value).is_empty() {
                errors.push(Error::required(&Path::new(field), ""));
            }
            longest(errors, field, text(value), WORD_MAX);
        }
        longest(errors, "message", text(&event.message), NOTE_MAX);
    }
    named(errors, &Path::new("namespace"), namespace, names::dns1123_subdomain(namespace));
}

fn longest(errors: &mut Errors, field: &str, value: &str, max: usize) {
    if value.len() > max {
        errors.push(Error::invalid(&Path::new(field), "", format!("can have at most {max} characters")));
    }
}

/// What events.k8s.io asks for besides, of a new event.
pub fn strict_create(errors: &mut Errors, event: &Event) {
    series(errors, event);
    if event.event_time.is_none() {
        errors.push(Error::required(&Path::new("eventTime"), ""));
    }
    let kind = text(&event.type_);
    if !["Normal", "Warning"].contains(&kind) {
        errors.push(Error::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    let source = event.source.clone().unwrap_or_default();
    let old_fields = [
        ("firstTimestamp", event.first_timestamp.is_some()),
        ("lastTimestamp", event.last_timestamp.is_some()),
        ("count", event.count.unwrap_or(0) != 0),
        ("source", !text(&source.component).is_empty() || !text(&source.host).is_empty()),
    ];
    for (field, _) in old_fields.iter().filter(|(_, set)| *set) {
        errors.push(Error::invalid(&Path::new(field), "", UNSET));
    }
}

fn series(errors: &mut Errors, event: &Event) {
    let Some(series) = &event.series else { return };
    if series.count.unwrap_or(0) < 2 {
        errors.push(Error::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    let unseen = series.last_observed_time.as_ref().is_none_or(|time| time.0 == jiff::Timestamp::UNIX_EPOCH);
    if unseen {
        errors.push(Error::required(&Path::new("series.lastObservedTime"), ""));
    }
}

/// And of a change: only the series grows.
pub fn strict_update(errors: &mut Errors, new: &Event, old: &Event) {
    if new.series != old.series {
        series(errors, new);
    }
    immutable(errors, &Path::new("involvedObject"), &new.involved_object, &old.involved_object);
    immutable(errors, &Path::new("message"), &new.message, &old.message);
    immutable(errors, &Path::new("source"), &new.source, &old.source);
    immutable(errors, &Path::new("firstTimestamp"), &new.first_timestamp, &old.first_timestamp);
    immutable(errors, &Path::new("lastTimestamp"), &new.last_timestamp, &old.last_timestamp);
    immutable(errors, &Path::new("count"), &new.count, &old.count);
    immutable(errors, &Path::new("reason"), &new.reason, &old.reason);
    immutable(errors, &Path::new("type"), &new.type_, &old.type_);
    immutable(errors, &Path::new("eventTime"), &new.event_time, &old.event_time);
    immutable(errors, &Path::new("action"), &new.action, &old.action);
    immutable(errors, &Path::new("related"), &new.related, &old.related);
    immutable(errors, &Path::new("reportingController"), &new.reporting_component, &old.reporting_component);
    immutable(errors, &Path::new("reportingInstance"), &new.reporting_instance, &old.reporting_instance);
}
