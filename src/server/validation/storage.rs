//! Volumes of the cluster and claims to them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PersistentVolumeSpec};
use serde_json::Value;

use super::{immutable, json, labels, one_of, optional_one_of, quantity, text};
use crate::api::field::{Error, Errors, Path};

const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(errors: &mut Errors, path: &Path, modes: Option<&Vec<String>>) {
    let modes = modes.map_or(&[][..], Vec::as_slice);
    let path = path.child("accessModes");
    if modes.is_empty() {
        errors.push(Error::required(&path, "at least 1 access mode is required"));
    }
    for mode in modes.iter().filter(|mode| !MODES.contains(&mode.as_str())) {
        errors.push(Error::not_supported(&path, mode.as_str(), MODES));
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        let detail = "may not use ReadWriteOncePod with other access modes";
        errors.push(Error::forbidden(&path, detail));
    }
}

pub fn claim(errors: &mut Errors, path: &Path, spec: &PersistentVolumeClaimSpec) {
    labels::selector(errors, &path.child("selector"), spec.selector.as_ref());
    access_modes(errors, path, spec.access_modes.as_ref());
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let here = path.child("resources").key("storage");
    match requests.and_then(|requests| requests.get("storage")) {
        None => errors.push(Error::required(&here, "")),
        Some(size) => {
            if quantity(errors, &here, size).is_some_and(|size| size.is_zero() || size.is_negative()) {
                errors.push(Error::invalid(&here, size.0.as_str(), super::POSITIVE));
            }
        }
    }
    optional_one_of(errors, &path.child("volumeMode"), &spec.volume_mode, &["Block", "Filesystem"]);
}

/// A claim may grow once it is bound; nothing else about it changes.
pub fn claim_change(
    errors: &mut Errors,
    path: &Path,
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    bound: bool,
) {
    let mut munged = new.clone();
    if text(&old.volume_name).is_empty() {
        munged.volume_name.clone_from(&old.volume_name);
    }
    if text(&old.storage_class_name).is_empty() {
        munged.storage_class_name.clone_from(&old.storage_class_name);
    }
    munged.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    if bound {
        munged.resources.clone_from(&old.resources);
        shrink(errors, path, new, old);
    }
    if munged != *old {
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(Error::forbidden(path, detail));
    }
}

fn shrink(errors: &mut Errors, path: &Path, new: &PersistentVolumeClaimSpec, old: &PersistentVolumeClaimSpec) {
    let size = |spec: &PersistentVolumeClaimSpec| {
        let wire = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.clone();
        crate::api::quantity::Quantity::parse(&wire.0).ok()
    };
    if let (Some(new), Some(old)) = (size(new), size(old))
        && new < old
    {
        let here = path.child("resources").child("requests").child("storage");
        errors.push(Error::forbidden(&here, "field can not be less than status.capacity"));
    }
}

/// Fields of a volume that are not its source.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub fn volume(errors: &mut Errors, path: &Path, spec: &PersistentVolumeSpec) {
    access_modes(errors, path, spec.access_modes.as_ref());
    let empty = BTreeMap::new();
    let capacity = spec.capacity.as_ref().unwrap_or(&empty);
    let here = path.child("capacity");
    if capacity.is_empty() {
        errors.push(Error::required(&here, ""));
    } else if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.push(Error::not_supported(&here, json(capacity), &["storage"]));
    }
    for (name, size) in capacity {
        let here = here.key(name);
        if quantity(errors, &here, size).is_some_and(|size| size.is_zero() || size.is_negative()) {
            errors.push(Error::invalid(&here, size.0.as_str(), super::POSITIVE));
        }
    }
    let policies = ["Delete", "Recycle", "Retain"];
    let policy = text(&spec.persistent_volume_reclaim_policy);
    one_of(errors, &path.child("persistentVolumeReclaimPolicy"), policy, &policies);
    if let Value::Object(fields) = json(spec) {
        let mut sources = fields.keys().filter(|name| !NOT_SOURCES.contains(&name.as_str()));
        if sources.next().is_none() {
            errors.push(Error::required(path, "must specify a volume type"));
        }
        for extra in sources {
            errors.push(Error::forbidden(&path.child(extra), "may not specify more than 1 volume type"));
        }
    }
    if let Some(host_path) = &spec.host_path {
        super::pod::host_path(errors, &path.child("hostPath"), host_path);
    }
    if spec.local.is_some() && spec.node_affinity.is_none() {
        errors.push(Error::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
    }
    optional_one_of(errors, &path.child("volumeMode"), &spec.volume_mode, &["Block", "Filesystem"]);
}

/// Where the data is cannot change.
pub fn volume_change(errors: &mut Errors, path: &Path, new: &PersistentVolumeSpec, old: &PersistentVolumeSpec) {
    let source = |spec: &PersistentVolumeSpec| {
        let Value::Object(mut fields) = json(spec) else { return Value::Null };
        fields.retain(|name, _| !NOT_SOURCES.contains(&name.as_str()));
        Value::Object(fields)
    };
    if source(new) != source(old) {
        let detail = "spec.persistentvolumesource is immutable after creation";
        errors.push(Error::forbidden(&path.child("persistentvolumesource"), detail));
    }
    immutable(errors, &path.child("volumeMode"), &new.volume_mode, &old.volume_mode);
}
