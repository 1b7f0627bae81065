//! What a deletion does to an object, decided from the object, the options and the kind alone.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::object::Object;
use crate::server::pipeline::meta;
use crate::server::pipeline::options::DeleteOptions;
use crate::server::strategy::Meta;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a deletion does to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes now.
    Remove,
    /// It stays for a while, marked.
    Mark,
    /// It is marked already and nothing changes.
    Nothing,
}

/// What becomes of dependents when nobody says (`DefaultGarbageCollectionPolicy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependents {
    Delete,
    Orphan,
    /// The garbage collector never acts on the kind.
    Unsupported,
}

pub(super) fn dependents(kind: &Meta) -> Dependents {
    match (kind.group, kind.plural) {
        ("batch", "jobs") | ("", "replicationcontrollers") => Dependents::Orphan,
        (_, "events") => Dependents::Unsupported,
        _ => Dependents::Delete,
    }
}

/// A namespace waits for its content by `spec.finalizers`.
pub(super) fn namespace_is_empty(object: &dyn Object) -> bool {
    let namespace = object.downcast_ref::<Namespace>();
    let spec = namespace.and_then(|namespace| namespace.spec.as_ref());
    spec.and_then(|spec| spec.finalizers.as_ref()).is_none_or(Vec::is_empty)
}

/// Decides what happens, and marks `object` for it. The order is that of upstream's store: grace first, then
/// finalizers, which therefore cannot be changed once a grace period runs.
pub(super) fn plan(object: &mut dyn Object, options: &DeleteOptions, dependents: Dependents) -> Step {
    if object.downcast_ref::<Namespace>().is_some() {
        return plan_namespace(object, options, dependents);
    }
    let grace = match give_time(object, options) {
        Grace::Pending => return Step::Nothing,
        Grace::None => None,
        Grace::Seconds(seconds) => Some(seconds),
    };
    settle_finalizers(object, options, dependents);
    let waits = !object.meta().finalizers.as_ref().is_none_or(Vec::is_empty);
    match grace {
        None | Some(0) if !waits => Step::Remove,
        None => {
            mark_for_finalizers(object);
            Step::Mark
        }
        Some(_) => Step::Mark,
    }
}

/// A namespace is marked once; afterwards it goes when its content is gone.
fn plan_namespace(object: &mut dyn Object, options: &DeleteOptions, dependents: Dependents) -> Step {
    let marked = object.meta().deletion_timestamp.is_some();
    if marked && !namespace_is_empty(object) {
        return Step::Nothing;
    }
    settle_finalizers(object, options, dependents);
    if object.meta().finalizers.as_ref().is_none_or(Vec::is_empty) && namespace_is_empty(object) {
        return Step::Remove;
    }
    if !marked {
        object.meta_mut().deletion_timestamp = Some(meta::now());
    }
    if let Some(namespace) = object.downcast_mut::<Namespace>() {
        namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    }
    Step::Mark
}

/// Adds or removes the finalizers that the garbage collector acts on.
fn settle_finalizers(object: &mut dyn Object, options: &DeleteOptions, dependents: Dependents) {
    let before = object.meta().finalizers.clone().unwrap_or_default();
    let there = before.iter().map(String::as_str).find(|name| matches!(*name, ORPHAN | FOREGROUND));
    let wanted = match (dependents, options.orphan_dependents, options.propagation_policy.as_deref()) {
        (Dependents::Unsupported, ..) => None,
        (_, Some(orphan), _) => orphan.then_some(ORPHAN),
        (.., Some("Orphan")) => Some(ORPHAN),
        (.., Some("Foreground")) => Some(FOREGROUND),
        (.., Some(_)) => None,
        // Without a wish the finalizers that are there decide, then the kind.
        _ if there.is_some() => there,
        (Dependents::Orphan, ..) => Some(ORPHAN),
        (Dependents::Delete, ..) => None,
    };
    if there == wanted {
        return;
    }
    let mut after: Vec<String> =
        before.iter().filter(|name| !matches!(name.as_str(), ORPHAN | FOREGROUND)).cloned().collect();
    after.extend(wanted.map(str::to_owned));
    object.meta_mut().finalizers = (!after.is_empty()).then_some(after);
}

/// How long an object has to end.
enum Grace {
    /// Kinds other than Pod know no grace, nor does a pod whose time is over.
    None,
    /// Its time runs already, and the wish is for no less.
    Pending,
    /// So many seconds from the (first) deletion; the object is marked so.
    Seconds(i64),
}

fn give_time(object: &mut dyn Object, options: &DeleteOptions) -> Grace {
    let Some(pod) = object.downcast_mut::<Pod>() else { return Grace::None };
    // A negative period means one second.
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if pod.metadata.deletion_timestamp.is_none() {
        let seconds = first_grace(pod, asked);
        mark(&mut pod.metadata, seconds);
        return Grace::Seconds(seconds);
    }
    match (pod.metadata.deletion_grace_period_seconds.unwrap_or(0), asked) {
        (0, _) => Grace::None,
        (left, Some(seconds)) if seconds < left => {
            set_deadline(&mut pod.metadata, seconds, left);
            Grace::Seconds(seconds)
        }
        _ => Grace::Pending,
    }
}

fn first_grace(pod: &Pod, asked: Option<i64>) -> i64 {
    let spec = pod.spec.as_ref();
    let unscheduled = spec.and_then(|spec| spec.node_name.as_deref()).is_none_or(str::is_empty);
    if unscheduled || crate::api::pod::is_terminal(pod) {
        return 0;
    }
    let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
    match asked.or(own).unwrap_or(0) {
        seconds if seconds < 0 => 1,
        seconds => seconds,
    }
}

fn mark(meta: &mut ObjectMeta, grace: i64) {
    let mut time = meta::now();
    time.0 = time.0.saturating_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(time.0);
    meta.deletion_timestamp = Some(time);
    meta.deletion_grace_period_seconds = Some(grace);
    next_generation(meta);
}

/// Its finalizers are all that the object waits for (`markAsDeleting`).
fn mark_for_finalizers(object: &mut dyn Object) {
    let meta = object.meta_mut();
    let now = meta::now();
    if meta.deletion_timestamp.is_none() {
        next_generation(meta);
    }
    if meta.deletion_timestamp.as_ref().is_none_or(|time| time.0 > now.0) {
        meta.deletion_timestamp = Some(now);
    }
    meta.deletion_grace_period_seconds = Some(0);
}

/// Being deleted is a change that controllers should notice.
fn next_generation(meta: &mut ObjectMeta) {
    if let Some(generation) = meta.generation.filter(|generation| *generation > 0) {
        meta.generation = Some(generation + 1);
    }
}

/// Moves the end of a running grace period forward.
fn set_deadline(meta: &mut ObjectMeta, grace: i64, previous: i64) {
    if let Some(time) = &mut meta.deletion_timestamp {
        let earlier = jiff::SignedDuration::from_secs(previous.saturating_sub(grace));
        time.0 = time.0.saturating_sub(earlier).unwrap_or(time.0);
    }
    meta.deletion_grace_period_seconds = Some(grace);
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
