//! The metadata every object has: what the system fills in, and upstream's rules for the rest
//! (`ValidateObjectMeta` and `ValidateObjectMetaUpdate` of apimachinery).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::gvk::split_api_version;
use crate::api::names;
use crate::api::status::{Failure, Result};
use crate::server::strategy::{Meta, NameRule};
use crate::server::validation::network;

/// All annotations of an object together, keys and values.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Now, in whole seconds as metav1.Time has them.
pub fn now() -> Time {
    let second = jiff::Timestamp::now().as_second();
    Time(jiff::Timestamp::from_second(second).unwrap_or_default())
}

/// Fills in what a new object gets from the system. The name may come later.
pub fn begin(meta: &mut ObjectMeta, kind: &Meta) {
    meta.uid = Some(super::random::uid());
    meta.creation_timestamp = Some(now());
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.self_link = None;
    meta.generation = kind.generation.then_some(1);
}

/// The namespace of the body must be the path's, or absent.
pub fn settle_namespace(meta: &mut ObjectMeta, kind: &Meta, requested: &str) -> Result<()> {
    if !kind.namespaced {
        meta.namespace = None;
        return Ok(());
    }
    match meta.namespace.as_deref() {
        None | Some("") => meta.namespace = Some(requested.to_owned()),
        Some(given) if given == requested => {}
        Some(_) => {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Failure::bad_request(why));
        }
    }
    Ok(())
}

/// Keeps of an existing object what an update may leave out and what it may not change.
pub fn inherit(new: &mut ObjectMeta, old: &ObjectMeta) {
    if new.uid.as_deref().is_none_or(str::is_empty) {
        new.uid.clone_from(&old.uid);
    }
    // A change of it is ignored, not refused.
    if old.creation_timestamp.is_some() {
        new.creation_timestamp.clone_from(&old.creation_timestamp);
    }
    if old.deletion_timestamp.is_some() {
        new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if new.deletion_grace_period_seconds.is_none() {
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    new.generation = old.generation;
    new.self_link = None;
}

/// Puts back what a write of a status may not change, where it may not (upstream's `ResetObjectMetaForStatus`).
pub fn keep(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
}

fn name_problems(rule: NameRule, name: &str, prefix: bool) -> Vec<String> {
    let masked;
    let name = if prefix && rule != NameRule::PathSegment {
        masked = names::mask_trailing_dash(name);
        masked.as_str()
    } else {
        name
    };
    match rule {
        NameRule::Subdomain => names::dns1123_subdomain(name),
        NameRule::Label => names::dns1123_label(name),
        NameRule::PathSegment if prefix => names::path_segment_prefix(name),
        NameRule::PathSegment => names::path_segment_name(name),
        NameRule::IpAddress => network::canonical_ip(name).err().into_iter().collect(),
    }
}

/// The rules for a new object.
pub fn validate(meta: &ObjectMeta, kind: &Meta) -> Errors {
    let path = Path::new("metadata");
    let mut errors = Errors::new();
    if let Some(base) = meta.generate_name.as_deref().filter(|base| !base.is_empty()) {
        for problem in name_problems(kind.names, base, true) {
            errors.push(Error::invalid(&path.child("generateName"), base, problem));
        }
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.push(Error::required(&path.child("name"), "name or generateName is required")),
        name => {
            for problem in name_problems(kind.names, name, false) {
                errors.push(Error::invalid(&path.child("name"), name, problem));
            }
        }
    }
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    if kind.namespaced && namespace.is_empty() {
        errors.push(Error::required(&path.child("namespace"), ""));
    } else if kind.namespaced {
        for problem in names::dns1123_label(namespace) {
            errors.push(Error::invalid(&path.child("namespace"), namespace, problem));
        }
    }
    common(meta, &path, &mut errors);
    errors
}

/// The rules for both new and changed objects.
fn common(meta: &ObjectMeta, path: &Path, errors: &mut Errors) {
    if let Some(generation) = meta.generation.filter(|generation| *generation < 0) {
        let why = "must be greater than or equal to 0";
        errors.push(Error::invalid(&path.child("generation"), generation, why));
    }
    labels(meta, &path.child("labels"), errors);
    annotations(meta, &path.child("annotations"), errors);
    owners(meta.owner_references.as_deref().unwrap_or_default(), &path.child("ownerReferences"), errors);
    finalizers(meta.finalizers.as_deref().unwrap_or_default(), &path.child("finalizers"), errors);
}

fn labels(meta: &ObjectMeta, path: &Path, errors: &mut Errors) {
    for (key, value) in meta.labels.iter().flatten() {
        for problem in names::qualified_name(key) {
            errors.push(Error::invalid(path, key.as_str(), problem));
        }
        for problem in names::label_value(value) {
            errors.push(Error::invalid(path, value.as_str(), problem));
        }
    }
}

fn annotations(meta: &ObjectMeta, path: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in meta.annotations.iter().flatten() {
        for problem in names::qualified_name(&key.to_lowercase()) {
            errors.push(Error::invalid(path, key.as_str(), problem));
        }
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(Error::too_long(path, ANNOTATIONS_LIMIT));
    }
}

fn owners(owners: &[OwnerReference], path: &Path, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let version = split_api_version(&owner.api_version);
        if version.is_none_or(|(_, version)| version.is_empty()) {
            let why = "version must not be empty";
            errors.push(Error::invalid(&path.child("apiVersion"), owner.api_version.as_str(), why));
        }
        for (name, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.push(Error::invalid(&path.child(name), value.as_str(), "must not be empty"));
            }
        }
        if version == Some(("", "v1")) && owner.kind == "Event" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(Error::invalid_shown(path, &shown(owner), why));
        }
        if owner.controller == Some(true) {
            let name = format!("{}/{}", owner.kind, owner.name);
            let Some(first) = &controller else {
                controller = Some(name);
                continue;
            };
            let all: Vec<String> = owners.iter().map(shown).collect();
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
            );
            errors.push(Error::invalid_shown(path, &format!("[{}]", all.join(",")), why));
        }
    }
}

/// The JSON of an owner with its fields in Go's order.
fn shown(owner: &OwnerReference) -> String {
    let fields = [
        ("apiVersion", Some(Value::from(&*owner.api_version))),
        ("kind", Some(Value::from(&*owner.kind))),
        ("name", Some(Value::from(&*owner.name))),
        ("uid", Some(Value::from(&*owner.uid))),
        ("controller", owner.controller.map(Value::from)),
        ("blockOwnerDeletion", owner.block_owner_deletion.map(Value::from)),
    ];
    let said = fields.into_iter().filter_map(|(name, value)| value.map(|value| format!("\"{name}\":{value}")));
    format!("{{{}}}", said.collect::<Vec<_>>().join(","))
}

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizers(finalizers: &[String], path: &Path, errors: &mut Errors) {
    for finalizer in finalizers {
        for problem in names::qualified_name(finalizer) {
            errors.push(Error::invalid(path, finalizer.as_str(), problem));
        }
    }
    let has = |name: &str| finalizers.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer foregroundDeletion and orphan cannot be both set";
        errors.push(Error::invalid(path, Value::from(finalizers.to_vec()), why));
    }
    for (at, finalizer) in finalizers.iter().enumerate() {
        if !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer.as_str()) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&path.index(at), finalizer.as_str(), why));
        }
    }
}

/// The rules for a change.
pub fn validate_update(new: &ObjectMeta, old: &ObjectMeta) -> Errors {
    let path = Path::new("metadata");
    let mut errors = Errors::new();
    if old.deletion_timestamp.is_some() {
        let before = old.finalizers.as_deref().unwrap_or_default();
        let added: Vec<_> = new.finalizers.iter().flatten().filter(|name| !before.contains(name)).collect();
        if !added.is_empty() {
            let list: Vec<String> = added.iter().map(|name| format!("{name:?}")).collect();
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            );
            errors.push(Error::forbidden(&path.child("finalizers"), why));
        }
    }
    if new.generation < old.generation {
        errors.push(Error::invalid(&path.child("generation"), new.generation.unwrap_or(0), "must not be decremented"));
    }
    immutable(&new.name, &old.name, &path.child("name"), &mut errors);
    immutable(&new.namespace, &old.namespace, &path.child("namespace"), &mut errors);
    immutable(&new.uid, &old.uid, &path.child("uid"), &mut errors);
    if seconds(&new.creation_timestamp) != seconds(&old.creation_timestamp) {
        let value = serde_json::to_value(&new.creation_timestamp).unwrap_or_default();
        errors.push(Error::invalid(&path.child("creationTimestamp"), value, "field is immutable"));
    }
    if seconds(&new.deletion_timestamp) != seconds(&old.deletion_timestamp) {
        let value = serde_json::to_value(&new.deletion_timestamp).unwrap_or_default();
        errors.push(Error::invalid(&path.child("deletionTimestamp"), value, "field is immutable"));
    }
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds {
        let value = new.deletion_grace_period_seconds;
        errors.push(Error::invalid(&path.child("deletionGracePeriodSeconds"), value, "field is immutable"));
    }
    common(new, &path, &mut errors);
    errors
}

fn seconds(time: &Option<Time>) -> Option<i64> {
    time.as_ref().map(|time| time.0.as_second())
}

fn immutable(new: &Option<String>, old: &Option<String>, path: &Path, errors: &mut Errors) {
    if new != old {
        errors.push(Error::invalid(path, new.as_deref().unwrap_or_default(), "field is immutable"));
    }
}
