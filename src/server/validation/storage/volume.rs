//! PersistentVolumes: one source each, which never changes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, CinderPersistentVolumeSource, ISCSIPersistentVolumeSource, PersistentVolumeSpec,
    SecretReference,
};
use serde_json::Value;

use super::super::union::Union;
use super::super::volume_source::{self as source, Iscsi};
use super::super::warnings::OLD_NODE_LABELS;
use super::super::{
    IMMUTABLE, POSITIVE, immutable, internal, json, named, optional_one_of, paths, pod, quantity, required,
    required_name, semantic, text,
};
use super::{access_modes, basic};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

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

const INLINE: &str = "in the context of inline volumes";

/// A volume that is part of another object: all about claims and classes is left out of it.
pub fn inline(errors: &mut Errors, path: &Path, spec: &PersistentVolumeSpec) {
    let absent = format!("may not be specified {INLINE}");
    let refuse = |errors: &mut Errors, field: &str, given: bool, detail: &str| {
        if given {
            errors.push(Error::forbidden(&path.child(field), detail));
        }
    };
    refuse(errors, "claimRef", spec.claim_ref.is_some(), &absent);
    refuse(errors, "capacity", spec.capacity.as_ref().is_some_and(|capacity| !capacity.is_empty()), &absent);
    if spec.csi.is_none() {
        errors.push(Error::required(&path.child("csi"), format!("has to be specified {INLINE}")));
    }
    access_modes(errors, &path.child("accessModes"), spec.access_modes.as_deref().unwrap_or_default(), "");
    let policy = text(&spec.persistent_volume_reclaim_policy);
    refuse(
        errors,
        "persistentVolumeReclaimPolicy",
        !matches!(policy, "" | "Retain"),
        &format!("may only be Retain {INLINE}"),
    );
    refuse(errors, "nodeAffinity", spec.node_affinity.is_some(), &absent);
    one_source(errors, path, spec, "");
    refuse(errors, "storageClassName", !text(&spec.storage_class_name).is_empty(), &absent);
    let other = spec.volume_mode.as_deref().is_some_and(|mode| mode != "Filesystem");
    refuse(errors, "volumeMode", other, &format!("may not specify volumeMode other than Filesystem {INLINE}"));
    attributes_class(errors, path, spec);
}

pub fn volume(errors: &mut Errors, path: &Path, spec: &PersistentVolumeSpec, name: &str) {
    access_modes(errors, &path.child("accessModes"), spec.access_modes.as_deref().unwrap_or_default(), "");
    capacity(errors, &path.child("capacity"), spec);
    let policies = ["Delete", "Recycle", "Retain"];
    let policy = path.child("persistentVolumeReclaimPolicy");
    optional_one_of(errors, &policy, &spec.persistent_volume_reclaim_policy, &policies);
    if let Some(affinity) = &spec.node_affinity {
        let here = path.child("nodeAffinity").child("required");
        match &affinity.required {
            Some(selector) => pod::node_selector(errors, &here, selector),
            None => errors.push(Error::required(&here, "must specify required node constraints")),
        }
    }
    one_source(errors, path, spec, name);
    let root = spec.host_path.as_ref().is_some_and(|host| is_root(&host.path));
    if root && spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle") {
        errors.push(Error::forbidden(&policy, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    let class = text(&spec.storage_class_name);
    if !class.is_empty() {
        named(errors, &path.child("storageClassName"), class, names::dns1123_subdomain(class));
    }
    optional_one_of(errors, &path.child("volumeMode"), &spec.volume_mode, &["Block", "Filesystem"]);
    attributes_class(errors, path, spec);
}

fn attributes_class(errors: &mut Errors, path: &Path, spec: &PersistentVolumeSpec) {
    if let Some(class) = &spec.volume_attributes_class_name {
        let here = path.child("volumeAttributesClassName");
        match class.as_str() {
            "" => errors.push(Error::required(&here, "an empty string is disallowed")),
            class => named(errors, &here, class, names::dns1123_subdomain(class)),
        }
        if spec.csi.is_none() {
            let detail = "has to be specified when using volumeAttributesClassName";
            errors.push(Error::required(&path.child("csi"), detail));
        }
    }
}

fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| part.is_empty() || part == ".")
}

fn capacity(errors: &mut Errors, path: &Path, spec: &PersistentVolumeSpec) {
    let empty = BTreeMap::new();
    let capacity = spec.capacity.as_ref().unwrap_or(&empty);
    if capacity.is_empty() {
        errors.push(Error::required(path, ""));
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.push(Error::not_supported(path, json(&spec.capacity), &["storage"]));
    }
    for (name, size) in capacity {
        let here = path.key(name);
        basic(errors, &here, size);
        if let Some(size) = quantity(&mut Errors::new(), &here, size).filter(|size| *size <= Quantity::ZERO) {
            errors.push(Error::invalid(&here, size.to_string(), POSITIVE));
        }
    }
}

/// In the order in which upstream asks.
fn one_source(errors: &mut Errors, path: &Path, spec: &PersistentVolumeSpec, name: &str) {
    let mut union = Union::new(errors, path, "may not specify more than 1 volume type");
    union.member("hostPath", spec.host_path.as_ref(), pod::host_path);
    union.named("gcePersistentDisk", "persistentDisk", spec.gce_persistent_disk.as_ref(), source::gce);
    union.member("awsElasticBlockStore", spec.aws_elastic_block_store.as_ref(), source::aws);
    union.member("glusterfs", spec.glusterfs.as_ref(), |errors, path, it| {
        source::glusterfs(errors, path, &it.endpoints, &it.path);
        let here = path.child("endpointsNamespace");
        match it.endpoints_namespace.as_deref() {
            None => {}
            Some("") => {
                let detail = "if the endpointnamespace is set, it must be a valid namespace name";
                errors.push(Error::invalid(&here, "", detail));
            }
            Some(namespace) => named(errors, &here, namespace, names::dns1123_label(namespace)),
        }
    });
    union.member("flocker", spec.flocker.as_ref(), source::flocker);
    union.member("nfs", spec.nfs.as_ref(), source::nfs);
    union.member("rbd", spec.rbd.as_ref(), |errors, path, it| source::rbd(errors, path, &it.monitors, &it.image));
    union.member("quobyte", spec.quobyte.as_ref(), source::quobyte);
    union.named("cephFS", "cephfs", spec.cephfs.as_ref(), |errors, path, it| source::ceph(errors, path, &it.monitors));
    union.member("iscsi", spec.iscsi.as_ref(), |errors, path, it| iscsi(errors, path, it, name));
    union.member("cinder", spec.cinder.as_ref(), cinder);
    union.member("fc", spec.fc.as_ref(), source::fibre_channel);
    // The one source that may come second.
    union.also("flexVolume", spec.flex_volume.as_ref(), |errors, path, it| {
        source::flex(errors, path, &it.driver, it.options.iter().flat_map(BTreeMap::keys));
    });
    disks(&mut union, spec);
    union.member("local", spec.local.as_ref(), |errors, here, it| {
        required(errors, &here.child("path"), &it.path);
        paths::no_backsteps(errors, &here.child("path"), &it.path);
        if spec.node_affinity.is_none() {
            errors.push(Error::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
        }
    });
    union.member("storageos", spec.storageos.as_ref(), |errors, path, it| {
        source::storage_os(errors, path, &it.volume_name, &it.volume_namespace);
        if let Some(secret) = &it.secret_ref {
            required(errors, &path.child("secretRef").child("name"), text(&secret.name));
            required(errors, &path.child("secretRef").child("namespace"), text(&secret.namespace));
        }
    });
    union.member("csi", spec.csi.as_ref(), csi);
    union.end("must specify a volume type");
}

fn disks(union: &mut Union, spec: &PersistentVolumeSpec) {
    union.member("azureFile", spec.azure_file.as_ref(), |errors, path, it| {
        source::azure_file(errors, path, &it.secret_name, &it.share_name);
        if it.secret_namespace.as_deref() == Some("") {
            errors.push(Error::required(&path.child("secretNamespace"), ""));
        }
    });
    union.member("vsphereVolume", spec.vsphere_volume.as_ref(), source::vsphere);
    union.member("photonPersistentDisk", spec.photon_persistent_disk.as_ref(), source::photon);
    union.member("portworxVolume", spec.portworx_volume.as_ref(), source::portworx);
    union.member("azureDisk", spec.azure_disk.as_ref(), source::azure_disk);
    union.member("scaleIO", spec.scale_io.as_ref(), |errors, path, it| {
        source::scale_io(errors, path, &it.gateway, &it.system, &it.volume_name);
    });
}

fn iscsi(errors: &mut Errors, path: &Path, it: &ISCSIPersistentVolumeSource, name: &str) {
    if it.initiator_name.is_some() && name.len() + 1 + it.target_portal.len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.push(Error::invalid(&path.child("targetportal"), it.target_portal.as_str(), detail));
    }
    let target = Iscsi {
        portal: &it.target_portal,
        iqn: &it.iqn,
        lun: it.lun,
        chap: it.chap_auth_discovery == Some(true) || it.chap_auth_session == Some(true),
        has_secret: it.secret_ref.is_some(),
        initiator: it.initiator_name.as_deref(),
        wrong_start: "must be valid format",
    };
    source::iscsi(errors, path, &target);
    if let Some(secret) = &it.secret_ref {
        required(errors, &path.child("secretRef").child("name"), text(&secret.name));
    }
}

fn cinder(errors: &mut Errors, path: &Path, it: &CinderPersistentVolumeSource) {
    required(errors, &path.child("volumeID"), &it.volume_id);
    if let Some(secret) = &it.secret_ref {
        required(errors, &path.child("secretRef").child("name"), text(&secret.name));
        required(errors, &path.child("secretRef").child("namespace"), text(&secret.namespace));
    }
}

fn csi(errors: &mut Errors, path: &Path, csi: &CSIPersistentVolumeSource) {
    super::super::driver_name(errors, &path.child("driver"), &csi.driver);
    required(errors, &path.child("volumeHandle"), &csi.volume_handle);
    let secrets: [(&str, &Option<SecretReference>); 4] = [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ];
    for (field, secret) in secrets {
        let Some(secret) = secret else { continue };
        let path = path.child(field);
        required_name(errors, &path.child("name"), text(&secret.name), names::dns1123_subdomain);
        required_name(errors, &path.child("namespace"), text(&secret.namespace), names::dns1123_label);
    }
}

/// Where the data is cannot change; from which nodes it is reached, only in the names of their labels.
pub fn change(errors: &mut Errors, new: &PersistentVolumeSpec, old: &PersistentVolumeSpec) {
    let path = Path::new("spec");
    let mut now = new.clone();
    if let (Some(now), Some(before)) = (&mut now.csi, &old.csi)
        && before.controller_expand_secret_ref.is_none()
    {
        // May be given later.
        now.controller_expand_secret_ref = None;
    }
    let (now, before) = (source_of(&now), source_of(old));
    if !semantic::same(&now, &before) {
        let detail =
            format!("spec.persistentvolumesource is immutable after creation\n{}", semantic::diff(&before, &now));
        errors.push(Error::forbidden(&path.child("persistentvolumesource"), detail));
    }
    immutable(errors, &Path::new("volumeMode"), &new.volume_mode, &old.volume_mode);
    if let Some(before) = &old.node_affinity {
        let (mut before, now) = (json(before), json(&new.node_affinity));
        rename(&mut before, &now);
        if before != now {
            let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
            let shown = internal::volume_affinity(new.node_affinity.as_ref());
            errors.push(Error::invalid_shown(&Path::new("nodeAffinity"), &shown, detail));
        }
    }
    if old.volume_attributes_class_name.is_some() && new.volume_attributes_class_name.is_none() {
        let here = path.child("volumeAttributesClassName");
        errors.push(Error::forbidden(&here, "update from non-nil value to nil is forbidden"));
    }
}

fn source_of(spec: &PersistentVolumeSpec) -> Value {
    let Value::Object(mut fields) = json(spec) else { return Value::Null };
    fields.retain(|name, _| !NOT_SOURCES.contains(&name.as_str()));
    Value::Object(fields)
}

/// Gives a label in `before` its new name where that is what `now` has in its place. There is no way back.
fn rename(before: &mut Value, now: &Value) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let key = before.get("key").and_then(Value::as_str);
            let new = key.and_then(|key| {
                let advice = OLD_NODE_LABELS.iter().find(|(old, _)| *old == key)?.1;
                advice.split('"').nth(1)
            });
            if let Some(new) = new.filter(|new| now.get("key").and_then(Value::as_str) == Some(new)) {
                before.insert("key".to_owned(), new.into());
            }
            for (name, value) in before.iter_mut() {
                now.get(name).into_iter().for_each(|now| rename(value, now));
            }
        }
        (Value::Array(before), Value::Array(now)) => {
            before.iter_mut().zip(now).for_each(|(before, now)| rename(before, now));
        }
        _ => {}
    }
}
