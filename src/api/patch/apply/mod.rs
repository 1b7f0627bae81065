//! Server-side apply, and the record of who set which field (KEP-555).
//!
//! [`apply`] merges a configuration into the live object and gives the object to write, or the conflicts with
//! other managers. [`update_managed_fields`] records what any other write changed, [`track`] does so for a decoded
//! object. All are pure: the pipeline brings live object, names and time, and decides about defaults, admission
//! and storage. Sets of fields are in [`set`], walking by types in [`typed`], the entries in [`managers`].

use std::sync::LazyLock;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;
use serde_json::Value;

use crate::api::schema::Type;
use crate::api::status::Failure;

mod managers;
mod object;
pub mod scale;
mod set;
mod typed;
mod zero;

pub use object::{manager_of, track};

use managers::{Manager, Managers, Owned};
use set::{Element, Set};

/// The annotation of client-side apply.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The manager of everything that an object held before it was first applied to.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// Upstream's limit on all annotations of an object together.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// What is written, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The type of the object.
    pub schema: &'a Type,
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    /// `""` for the object itself, else as in the request's path.
    pub subresource: &'a str,
    /// Whether writes to the object leave `status` alone, since it has a subresource of its own.
    pub status_is_separate: bool,
    /// Whether writes to `status` leave the metadata alone.
    pub status_only: bool,
    /// Whether the type is a custom resource's.
    pub custom: bool,
    /// The `fieldManager` of the request, or what stands for it.
    pub manager: &'a str,
    pub now: Timestamp,
}

impl Request<'_> {
    fn api_version(&self) -> String {
        crate::api::gvk::api_version(self.group, self.version)
    }

    /// Fields that this request cannot set, so that it does not come to own them (`GetResetFields` of upstream's
    /// strategies).
    fn ignored(&self) -> Set {
        let paths: &[&[&str]] = match (self.group, self.kind, self.subresource) {
            ("certificates.k8s.io", "CertificateSigningRequest", "") => &[&["spec"], &["status"]],
            (.., "") if self.status_is_separate => &[&["status"]],
            ("apps", "Deployment", "status") => &[&["spec"], &["metadata", "labels"]],
            ("", "Pod", "status") => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
            // Of definitions upstream only says so.
            (_, "CustomResourceDefinition", "status") => &[&["metadata"], &["spec"]],
            (.., "status") if self.status_only => &[&["metadata"], &["spec"]],
            (.., "status" | "approval") => &[&["spec"]],
            _ => &[],
        };
        paths.iter().map(|path| Set::of_fields(path)).fold(Set::default(), Set::union)
    }

    fn updater(&self) -> Manager {
        Manager::updater(self.manager, &self.api_version(), self.subresource)
    }
}

/// A field that another manager owns and the applied configuration would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// As in messages: `"kubectl" using apps/v1`.
    pub manager: String,
    /// `.spec.replicas`.
    pub field: String,
}

/// Why a configuration was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", conflict_message(.0))]
    Conflicts(Vec<Conflict>),
    #[error("{0}")]
    BadRequest(String),
    /// The configuration does not fit the type, or the live object's record is broken.
    #[error("{0}")]
    Unclear(String),
}

fn conflict_message(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {field}");
    }
    let mut lines: Vec<String> = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", conflict.manager));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.field));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

impl ApplyError {
    /// The answer to the request: 409 with one cause for each conflict, 400, or 500.
    pub fn into_failure(self) -> Failure {
        let message = self.to_string();
        match self {
            Self::Conflicts(conflicts) => {
                let causes = conflicts.into_iter().map(|conflict| StatusCause {
                    reason: Some("FieldManagerConflict".to_owned()),
                    message: Some(format!("conflict with {}", conflict.manager)),
                    field: Some(conflict.field),
                });
                Failure::new(409, "Conflict", message).with_causes(causes.collect())
            }
            Self::BadRequest(_) => Failure::bad_request(message),
            Self::Unclear(_) => Failure::new(500, "", message),
        }
    }
}

/// An applied configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The object to write, with its new `managedFields`; not yet defaulted.
    pub object: Value,
    /// Whether anything but `managedFields` differs from the live object.
    pub changed: bool,
}

/// Applies `config` to `live` (`None` where it is created).
///
/// # Errors
/// Conflicts, unless `force` is set; a configuration of another kind or with `managedFields`; a
/// configuration that does not fit the type.
pub fn apply(live: Option<&Value>, config: &Value, force: bool, request: &Request<'_>) -> Result<Applied, ApplyError> {
    check_kind(config, request)?;
    if config.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    typed::validate(config, request.schema).map_err(|misfits| {
        ApplyError::Unclear(format!("failed to create typed patch object ({}): {misfits}", named(config, request)))
    })?;
    let managers = live.map_or(Ok(Managers::new()), managers::decode);
    let mut managers =
        managers.map_err(|error| ApplyError::Unclear(format!("failed to decode managed fields: {error}")))?;
    let bare = live.map(without_managed_fields).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if managers.is_empty() && live.is_some() {
        let zero = zero::value(request.schema, !request.custom);
        let before = Request { manager: BEFORE_FIRST_APPLY, ..*request };
        managers = record(&zero, &bare, managers, &before).map_err(|misfits| broken_live(&misfits))?;
    }
    let outcome = merge_as(&bare, config, &managers, force, request);
    let (mut object, managers) = match outcome {
        // kubectl takes over, without conflict, what it had set itself by client-side apply.
        Err(Refused::Conflicts(found)) if request.manager == "kubectl" => {
            let allowed = allowed_by_last_applied(&bare, request).unwrap_or_default();
            let left: Vec<_> = found.into_iter().filter(|(_, path)| !allowed.has(path)).collect();
            if !left.is_empty() {
                return Err(conflicts(left));
            }
            merge_as(&bare, config, &managers, true, request).map_err(Refused::into_error)?
        }
        other => other.map_err(Refused::into_error)?,
    };
    if request.manager == "kubectl" {
        renew_last_applied(&mut object, config);
    }
    let changed = live.is_none() || object != bare;
    managers::encode(&mut object, &managers);
    Ok(Applied { object, changed })
}

fn check_kind(config: &Value, request: &Request<'_>) -> Result<(), ApplyError> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    if (text("apiVersion"), text("kind")) == (request.api_version().as_str(), request.kind) {
        return Ok(());
    }
    let (group, version) = crate::api::gvk::split_api_version(text("apiVersion")).unwrap_or_default();
    Err(ApplyError::BadRequest(format!("invalid object type: {group}/{version}, Kind={}", text("kind"))))
}

/// `default/web; apps/v1, Kind=Deployment`.
fn named(config: &Value, request: &Request<'_>) -> String {
    let text = |name: &str| config.pointer(name).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    format!("{namespace}/{name}; {}/{}, Kind={}", request.group, request.version, request.kind)
}

fn broken_live(misfits: &typed::Misfits) -> ApplyError {
    ApplyError::Unclear(format!("failed to create typed live object: {misfits}"))
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// Fields that say which object it is, or that only the server writes: never recorded.
static UNOWNED: LazyLock<Set> = LazyLock::new(|| {
    const METADATA: [&str; 9] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let metadata = METADATA.iter().map(|name| Set::of_fields(&["metadata", name]));
    let all = [&["apiVersion"][..], &["kind"], &["metadata"]].map(Set::of_fields);
    all.into_iter().chain(metadata).fold(Set::default(), Set::union)
});

enum Refused {
    Conflicts(Vec<(String, Vec<Element>)>),
    Misfits(typed::Misfits),
}

impl From<typed::Misfits> for Refused {
    fn from(misfits: typed::Misfits) -> Self {
        Self::Misfits(misfits)
    }
}

impl Refused {
    fn into_error(self) -> ApplyError {
        match self {
            Self::Conflicts(found) => conflicts(found),
            Self::Misfits(misfits) => ApplyError::Unclear(format!("failed to merge config: {misfits}")),
        }
    }
}

fn conflicts(found: Vec<(String, Vec<Element>)>) -> ApplyError {
    let conflict = |(manager, path): (String, Vec<Element>)| Conflict { manager, field: set::shown(&path) };
    ApplyError::Conflicts(found.into_iter().map(conflict).collect())
}

/// Merges `config` into `live`, drops what the manager applied before and nobody owns now, and settles who
/// owns what.
fn merge_as(
    live: &Value,
    config: &Value,
    managers: &Managers,
    force: bool,
    request: &Request<'_>,
) -> Result<(Value, Managers), Refused> {
    let mut managers = managers.clone();
    let me = Manager::applier(request.manager, request.subresource);
    let ignored = request.ignored();
    let set = typed::paths(config, request.schema).recursive_difference(&ignored);
    let merged = typed::merge(live, config, request.schema)?;
    let last = managers.remove(&me);
    let time = last.as_ref().and_then(|last| last.time.clone());
    managers.insert(me.clone(), Owned { set, api_version: request.api_version(), time });
    let object = match last {
        Some(last) if !last.set.is_empty() => prune(merged, &last.set, &managers, request.schema),
        _ => merged,
    };
    let changes = typed::compare(live, &object, request.schema)?.without(&ignored);
    settle(&mut managers, &me, &changes, force)?;
    if let Some(mine) = managers.get_mut(&me) {
        mine.set = std::mem::take(&mut mine.set).difference(&UNOWNED);
        if &object != live {
            mine.time = Some(managers::wire_time(request.now));
        }
    }
    managers.retain(|_, owned| !owned.set.is_empty());
    Ok((object, managers))
}

/// Takes from the others what `changes` took from them; without `force`, a changed field that another owns is a
/// conflict.
fn settle(managers: &mut Managers, me: &Manager, changes: &typed::Changes, force: bool) -> Result<(), Refused> {
    if managers.keys().all(|manager| manager == me) {
        return Ok(());
    }
    let written = changes.modified.clone().union(changes.added.clone());
    let others = || managers.iter().filter(|(manager, _)| *manager != me);
    if !force {
        let found: Vec<_> = others()
            .flat_map(|(manager, owned)| {
                let paths = owned.set.intersection(&written).paths();
                paths.into_iter().map(|path| (manager.to_string(), path))
            })
            .collect();
        if !found.is_empty() {
            return Err(Refused::Conflicts(found));
        }
    }
    for (manager, owned) in managers.iter_mut() {
        if manager != me {
            owned.set = std::mem::take(&mut owned.set).difference(&written).difference(&changes.removed);
        }
    }
    managers.retain(|_, owned| !owned.set.is_empty());
    Ok(())
}

/// Drops from `merged` what is in `last`, the manager's former set, and in nobody's set now.
fn prune(merged: Value, last: &Set, managers: &Managers, schema: &Type) -> Value {
    let named = |set: &Set| typed::with_named_fields(set, schema);
    let last = named(last);
    let pruned = typed::remove(&merged, &last, schema);
    let owned = managers.values().fold(Set::default(), |all, owned| all.union(owned.set.clone()));
    let all = named(&typed::paths(&merged, schema));
    // What somebody owns comes back, then what was not this manager's to drop.
    let kept = named(&typed::paths(&pruned, schema)).union(named(&owned));
    let pruned = typed::remove(&merged, &all.clone().difference(&kept), schema);
    let left = named(&typed::paths(&pruned, schema));
    typed::remove(&merged, &all.difference(&left).intersection(&last), schema)
}

impl typed::Changes {
    fn without(self, ignored: &Set) -> Self {
        let left = |set: Set| set.recursive_difference(ignored);
        Self { removed: left(self.removed), modified: left(self.modified), added: left(self.added) }
    }
}

/// What client-side apply had set and nobody changed since.
fn allowed_by_last_applied(live: &Value, request: &Request<'_>) -> Option<Set> {
    let annotation = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    let last: Value = serde_json::from_str(annotation).ok()?;
    if last.get("apiVersion")?.as_str()? != request.api_version() {
        return None;
    }
    typed::validate(&last, request.schema).ok()?;
    let changes = typed::compare(&last, live, request.schema).ok()?;
    let set = typed::paths(&last, request.schema);
    Some(set.difference(&changes.modified).difference(&changes.added).difference(&changes.removed))
}

/// Keeps the annotation of client-side apply true, where there is one.
fn renew_last_applied(object: &mut Value, config: &Value) {
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return };
    if annotations.get(LAST_APPLIED).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(own) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        own.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), Value::from(format!("{config}\n")));
    let length = |value: &Value| value.as_str().map_or(0, str::len);
    if annotations.iter().map(|(name, value)| name.len() + length(value)).sum::<usize>() > MAX_ANNOTATION_BYTES {
        annotations.remove(LAST_APPLIED);
    }
}

/// Records in `new` what a write that is no apply changed from `old` (`None` where it is created).
///
/// The entries that `new` brings win over those of `old`, an empty list (or `[{}]`) forgets them all, and a
/// subresource cannot change them. An object without a record starts one only when it is created. What
/// cannot be compared leaves the record of `old` as it was.
pub fn update_managed_fields(old: Option<&Value>, new: &mut Value, request: &Request<'_>) {
    let managers = given_managers(old, new, request);
    if managers.is_empty() && old.is_some() {
        managers::encode(new, &managers);
        return;
    }
    // The record itself is among what is compared, and is unowned.
    let zero = match old {
        Some(_) => Value::Null,
        None => zero::value(request.schema, !request.custom),
    };
    match record(old.unwrap_or(&zero), new, managers, request) {
        Ok(managers) => managers::encode(new, &managers),
        Err(_) => {
            let kept = old.map(|old| managers::decode(old).unwrap_or_default()).unwrap_or_default();
            managers::encode(new, &kept);
        }
    }
}

fn given_managers(old: Option<&Value>, new: &Value, request: &Request<'_>) -> Managers {
    let of_old = || old.map(|old| managers::decode(old).unwrap_or_default()).unwrap_or_default();
    if !request.subresource.is_empty() {
        return of_old();
    }
    if managers::is_reset(new) {
        return Managers::new();
    }
    match managers::decode(new) {
        Ok(managers) if !managers.is_empty() => managers,
        _ => of_old(),
    }
}

fn record(old: &Value, new: &Value, mut managers: Managers, request: &Request<'_>) -> Result<Managers, typed::Misfits> {
    let changes = typed::compare(old, new, request.schema)?.without(&request.ignored());
    // Stands for this write, so that what the manager owned before is not treated as its own.
    let me = Manager::updater("", "", "");
    // Forced, so there are no conflicts.
    let _ = settle(&mut managers, &me, &changes, true);
    let typed::Changes { removed, modified, added } = changes;
    let mine = modified.union(added).difference(&removed).difference(&UNOWNED);
    if !mine.is_empty() {
        let time = Some(managers::wire_time(request.now));
        let api_version = request.api_version();
        let entry = managers.entry(request.updater()).or_insert(Owned { set: Set::default(), api_version, time: None });
        entry.set = std::mem::take(&mut entry.set).union(mine);
        entry.time = time;
    }
    managers::cap(&mut managers);
    Ok(managers)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream_tests;
