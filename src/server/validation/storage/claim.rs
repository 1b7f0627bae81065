//! PersistentVolumeClaims: a claim may grow once it is bound; little else about it changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus, TypedLocalObjectReference,
    TypedObjectReference, VolumeResourceRequirements,
};

use super::super::{
    POSITIVE, immutable, labels, named, optional_one_of, quantity, required, resources, semantic, text,
};
use super::{access_modes, basic};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Also the claim of an ephemeral volume, and those of a StatefulSet.
pub fn claim(errors: &mut Errors, path: &Path, spec: &PersistentVolumeClaimSpec) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        access_modes(errors, &path.child("accessModes"), modes, "at least 1 access mode is required");
    }
    labels::selector(errors, &path.child("selector"), spec.selector.as_ref());
    if !modes.is_empty() {
        access_modes(errors, &path.child("accessModes"), modes, "");
    }
    size(errors, &path.child("resources").key("storage"), spec);
    class(errors, &path.child("storageClassName"), spec.storage_class_name.as_deref());
    optional_one_of(errors, &path.child("volumeMode"), &spec.volume_mode, &["Block", "Filesystem"]);
    sources(errors, path, spec);
    class(errors, &path.child("volumeAttributesClassName"), spec.volume_attributes_class_name.as_deref());
}

fn size(errors: &mut Errors, path: &Path, spec: &PersistentVolumeClaimSpec) {
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let Some(wire) = requests.and_then(|requests| requests.get("storage")) else {
        return errors.push(Error::required(path, ""));
    };
    if let Some(size) = quantity(errors, path, wire).filter(|size| *size <= Quantity::ZERO) {
        errors.push(Error::invalid(path, size.to_string(), POSITIVE));
    }
}

fn class(errors: &mut Errors, path: &Path, name: Option<&str>) {
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        named(errors, path, name, names::dns1123_subdomain(name));
    }
}

/// What the volume is filled from: the older field and its successor say the same, unless the latter crosses namespaces.
fn sources(errors: &mut Errors, path: &Path, spec: &PersistentVolumeClaimSpec) {
    let (source, reference) = (spec.data_source.as_ref(), spec.data_source_ref.as_ref());
    if let Some(TypedLocalObjectReference { api_group, kind, name }) = source {
        of_source(errors, &path.child("dataSource"), api_group.as_deref(), kind, name);
    }
    let Some(TypedObjectReference { api_group, kind, name, namespace }) = reference else { return };
    let here = path.child("dataSourceRef");
    of_source(errors, &here, api_group.as_deref(), kind, name);
    let namespace = text(namespace);
    if !namespace.is_empty() {
        named(errors, &here.child("namespace"), namespace, names::dns1123_label(namespace));
    }
    let Some(source) = source else { return };
    let same = (&source.api_group, &source.kind, &source.name) == (api_group, kind, name);
    let detail = match namespace {
        "" if same => return,
        "" => "must match dataSourceRef",
        _ => "may not be specified when dataSourceRef.namespace is specified",
    };
    errors.push(Error::invalid(path, path.child("dataSource").to_string(), detail));
}

fn of_source(errors: &mut Errors, path: &Path, group: Option<&str>, kind: &str, name: &str) {
    required(errors, &path.child("name"), name);
    required(errors, &path.child("kind"), kind);
    let group = group.unwrap_or_default();
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(Error::invalid(path, kind, detail));
    }
    if !group.is_empty() {
        named(errors, &path.child("apiGroup"), group, names::dns1123_subdomain(group));
    }
}

/// `new` with the status of `old`, as an update through the claim itself has it.
pub fn change(errors: &mut Errors, new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) {
    let path = Path::new("spec");
    let (Some(now), Some(before)) = (&new.spec, &old.spec) else { return };
    let bound = old.status.as_ref().is_some_and(|status| text(&status.phase) == "Bound");
    let mut munged = now.clone();
    if text(&before.volume_name).is_empty() {
        munged.volume_name.clone_from(&before.volume_name);
    }
    class_once(errors, &mut munged, new, old);
    if bound {
        let requested =
            before.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("storage").cloned());
        if let Some(requests) = munged.resources.as_mut().and_then(|resources| resources.requests.as_mut())
            && let Some(requested) = requested
        {
            requests.insert("storage".to_owned(), requested);
        }
        munged.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
    }
    if !semantic::same(&munged, before) {
        let what =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        let detail = format!("{what}\n{}", semantic::diff(before, &munged));
        errors.push(Error::forbidden(&path, detail));
    }
    shrink(errors, &path, now, before, old.status.as_ref());
    immutable(errors, &Path::new("volumeMode"), &now.volume_mode, &before.volume_mode);
    let current = old.status.as_ref().and_then(|status| status.current_volume_attributes_class_name.as_ref());
    let given = &now.volume_attributes_class_name;
    if current.is_some() && *given != before.volume_attributes_class_name && text(given).is_empty() {
        let what = if given.is_none() { "nil" } else { "empty string" };
        let detail = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        errors.push(Error::forbidden(&path.child("volumeAttributesClassName"), detail));
    }
}

/// A class is given once: by the annotation that came before the field, or where there was none.
fn class_once(
    errors: &mut Errors,
    munged: &mut PersistentVolumeClaimSpec,
    new: &PersistentVolumeClaim,
    old: &PersistentVolumeClaim,
) {
    let said =
        |claim: &PersistentVolumeClaim| claim.metadata.annotations.as_ref().and_then(|all| all.get(OLD_CLASS).cloned());
    let (now, before) = (said(new), said(old));
    let old_class = old.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
    let (Some(given), None) = (munged.storage_class_name.clone(), old_class) else {
        annotation(errors, now, before);
        return;
    };
    let from_annotation = before.as_ref() == Some(&given) && now.as_ref().is_none_or(|now| *now == given);
    if !from_annotation {
        annotation(errors, now, before.clone());
    }
    if before.is_none_or(|before| before == given) {
        munged.storage_class_name = None;
    }
}

fn annotation(errors: &mut Errors, now: Option<String>, before: Option<String>) {
    let path = Path::new("metadata").child("annotations").child(OLD_CLASS);
    immutable(errors, &path, &now.unwrap_or_default(), &before.unwrap_or_default());
}

/// After an expansion that failed the request may fall, but not to what there is already.
fn shrink(
    errors: &mut Errors,
    path: &Path,
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
    status: Option<&PersistentVolumeClaimStatus>,
) {
    let of = |resources: Option<&VolumeResourceRequirements>| {
        resources
            .and_then(|resources| resources.requests.as_ref()?.get("storage"))
            .map(Quantity::of)
            .unwrap_or_default()
    };
    let has = status.and_then(|status| status.capacity.as_ref()?.get("storage")).map(Quantity::of).unwrap_or_default();
    let (new, old) = (of(new.resources.as_ref()), of(old.resources.as_ref()));
    if new < old && new <= has {
        let here = path.child("resources").child("requests").child("storage");
        errors.push(Error::forbidden(&here, "field can not be less than status.capacity"));
    }
}

const RESIZING: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

/// The rules of a change through `/status`.
pub fn status(errors: &mut Errors, claim: &PersistentVolumeClaim) {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    if modes.is_none_or(Vec::is_empty) {
        errors.push(Error::required(&Path::new("Spec").child("accessModes"), ""));
    }
    let Some(status) = &claim.status else { return };
    let path = Path::new("status");
    for (name, amount) in status.capacity.iter().flatten() {
        basic(errors, &path.child("capacity").key(name), amount);
    }
    let here = path.child("allocatedResourceStatuses");
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        claim_resource(errors, &here, name);
        if !RESIZING.contains(&state.as_str()) {
            errors.push(Error::not_supported(&here, name.as_str(), RESIZING));
        }
    }
    let here = path.child("allocatedResources");
    let empty = BTreeMap::new();
    for (name, amount) in status.allocated_resources.as_ref().unwrap_or(&empty) {
        if claim_resource(errors, &here, name) && basic(errors, &here.key(name), amount) {
            resources::amount(errors, &here.key(name), "storage", amount);
        }
    }
}

/// Of the cluster's own resources a claim is for storage alone; whether the name is good.
fn claim_resource(errors: &mut Errors, path: &Path, name: &str) -> bool {
    let problems = names::qualified_name(name);
    let good = problems.is_empty() && (!resources::is_native(name) || name == "storage");
    if problems.is_empty() && !good {
        errors.push(Error::not_supported(path, name, &["storage"]));
    }
    named(errors, path, name, problems);
    good
}
