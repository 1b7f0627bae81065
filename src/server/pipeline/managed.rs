//! Who set which field: keeps `metadata.managedFields` through every write that is no apply.

use super::Context;
use super::options::WriteOptions;
use crate::api::object::Object;
use crate::api::patch::apply::{Request, manager_of, track};
use crate::api::schema;

/// Calls `act` with what the record needs to know of the request; not for kinds without a known type.
pub(super) fn with_request<T>(
    context: &Context,
    options: &WriteOptions,
    act: impl FnOnce(&Request<'_>) -> T,
) -> Option<T> {
    let kind = context.kind.meta();
    let schema = schema::for_kind(kind.group, kind.version, kind.kind)?;
    let manager = manager_of(&options.field_manager, &context.agent);
    let request = Request {
        schema,
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        subresource: &context.subresource,
        status_is_separate: kind.has_status(),
        status_only: kind.status_only,
        custom: false,
        manager: &manager,
        now: jiff::Timestamp::now(),
    };
    Some(act(&request))
}

/// The same for a write through `/scale`.
pub(super) fn with_scale_request<T>(
    context: &Context,
    options: &WriteOptions,
    act: impl FnOnce(&Request<'_>) -> T,
) -> Option<T> {
    let manager = manager_of(&options.field_manager, &context.agent);
    let request = Request {
        schema: schema::for_kind("autoscaling", "v1", "Scale")?,
        group: "autoscaling",
        version: "v1",
        kind: "Scale",
        subresource: &context.subresource,
        status_is_separate: false,
        status_only: false,
        custom: false,
        manager: &manager,
        now: jiff::Timestamp::now(),
    };
    Some(act(&request))
}

/// Records what this write changes. Its place is after defaults and before admission.
pub(super) fn record(context: &Context, options: &WriteOptions, old: Option<&dyn Object>, new: &mut dyn Object) {
    if !options.applied {
        with_request(context, options, |request| track(old, new, request));
    }
}
