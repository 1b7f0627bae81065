//! Where a container sees the pod's volumes: as directories, or as block devices.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::super::{paths, required, text};
use super::Scope;
use crate::api::field::{Error, Errors, Path};

const UNIQUE: &str = "must be unique";

/// `path` is the list's; upstream tells some errors there and not at the mount.
pub fn mounts(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    let mut points = HashSet::new();
    let devices = || container.volume_devices.iter().flatten();
    for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let here = path.index(at);
        required(errors, &here.child("name"), &mount.name);
        if !scope.volumes.contains_key(mount.name.as_str()) {
            errors.push(Error::not_found(&here.child("name"), mount.name.as_str()));
        }
        let point = mount.mount_path.as_str();
        required(errors, &here.child("mountPath"), point);
        if !points.insert(point) {
            errors.push(Error::invalid(&here.child("mountPath"), point, UNIQUE));
        }
        if devices().any(|device| device.name == mount.name) {
            let detail = "must not already exist in volumeDevices";
            errors.push(Error::invalid(&here.child("name"), mount.name.as_str(), detail));
        }
        if devices().any(|device| device.device_path == point) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.push(Error::invalid(&here.child("mountPath"), point, detail));
        }
        sub_paths(errors, path, &here, mount);
        let privileged = container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true));
        propagation(errors, &path.child("mountPropagation"), mount, privileged);
        recursive_read_only(errors, &path.child("recursiveReadOnly"), mount);
    }
}

fn sub_paths(errors: &mut Errors, path: &Path, here: &Path, mount: &VolumeMount) {
    let (plain, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !plain.is_empty() {
        paths::local(errors, &path.child("subPath"), plain);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(Error::invalid(&here.child("subPathExpr"), expression, detail));
        }
        paths::local(errors, &path.child("subPathExpr"), expression);
    }
}

fn propagation(errors: &mut Errors, path: &Path, mount: &VolumeMount, privileged: bool) {
    match mount.mount_propagation.as_deref() {
        None | Some("None" | "HostToContainer") => {}
        Some("Bidirectional") => {
            if !privileged {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                errors.push(Error::forbidden(path, detail));
            }
        }
        Some(other) => {
            errors.push(Error::not_supported(path, other, &["Bidirectional", "HostToContainer", "None"]));
        }
    }
}

fn recursive_read_only(errors: &mut Errors, path: &Path, mount: &VolumeMount) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.push(Error::forbidden(path, "may only be specified when readOnly is true"));
            }
            if !matches!(mount.mount_propagation.as_deref(), None | Some("None")) {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(Error::forbidden(path, detail));
            }
        }
        Some(other) => {
            errors.push(Error::not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]));
        }
    }
}

pub fn devices(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    let (mut names, mut points) = (HashSet::new(), HashSet::new());
    let mounts = || container.volume_mounts.iter().flatten();
    for (at, device) in container.volume_devices.iter().flatten().enumerate() {
        let here = path.index(at);
        let (name, point) = (device.name.as_str(), device.device_path.as_str());
        let (name_path, point_path) = (here.child("name"), here.child("devicePath"));
        required(errors, &name_path, name);
        if !name.is_empty() && !names.insert(name) {
            errors.push(Error::invalid(&name_path, name, UNIQUE));
        }
        match scope.volumes.get(name) {
            None => errors.push(Error::not_found(&name_path, name)),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(Error::invalid(&name_path, name, detail));
            }
            Some(_) => {}
        }
        required(errors, &point_path, point);
        if points.contains(point) {
            errors.push(Error::invalid(&point_path, point, UNIQUE));
        }
        if paths::has_backsteps(point) {
            errors.push(Error::invalid(&point_path, point, "can not contain backsteps ('..')"));
        } else {
            points.insert(point);
        }
        if mounts().any(|mount| mount.name == name) {
            errors.push(Error::invalid(&name_path, name, "must not already exist in volumeMounts"));
        }
        if mounts().any(|mount| mount.mount_path == point) {
            errors.push(Error::invalid(&point_path, point, "must not already exist as a path in volumeMounts"));
        }
    }
}
