//! Where a container sees the pod's volumes.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::super::{required, text};
use super::{Scope, volumes::local_path};
use crate::api::field::{Error, Errors, Path};

pub fn mounts(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    let mut points = HashSet::new();
    let privileged = container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true));
    for (at, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.child("volumeMounts").index(at);
        named_volume(errors, &path, &mount.name, scope);
        required(errors, &path.child("mountPath"), &mount.mount_path);
        if !mount.mount_path.is_empty() && !points.insert(mount.mount_path.as_str()) {
            errors.push(Error::invalid(&path.child("mountPath"), mount.mount_path.as_str(), "must be unique"));
        }
        sub_paths(errors, &path, mount);
        propagation(errors, &path, mount, privileged);
    }
    for (at, device) in container.volume_devices.iter().flatten().enumerate() {
        let path = path.child("volumeDevices").index(at);
        named_volume(errors, &path, &device.name, scope);
        let is_claim = scope
            .volumes
            .get(device.name.as_str())
            .is_none_or(|volume| volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some());
        if !is_claim {
            let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
            errors.push(Error::invalid(&path.child("name"), device.name.as_str(), detail));
        }
        required(errors, &path.child("devicePath"), &device.device_path);
        if !device.device_path.is_empty() && !points.insert(device.device_path.as_str()) {
            errors.push(Error::invalid(&path.child("devicePath"), device.device_path.as_str(), "must be unique"));
        }
    }
}

fn named_volume(errors: &mut Errors, path: &Path, name: &str, scope: &Scope) {
    required(errors, &path.child("name"), name);
    if !scope.volumes.contains_key(name) {
        errors.push(Error::not_found(&path.child("name"), name));
    }
}

fn sub_paths(errors: &mut Errors, path: &Path, mount: &VolumeMount) {
    let (plain, expression) = (text(&mount.sub_path), text(&mount.sub_path_expr));
    if !plain.is_empty() {
        local_path(errors, &path.child("subPath"), plain);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(Error::invalid(&path.child("subPathExpr"), expression, detail));
        }
        local_path(errors, &path.child("subPathExpr"), expression);
    }
}

fn propagation(errors: &mut Errors, path: &Path, mount: &VolumeMount, privileged: bool) {
    let path = path.child("mountPropagation");
    match mount.mount_propagation.as_deref() {
        None | Some("None" | "HostToContainer") => {}
        Some("Bidirectional") => {
            if !privileged {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                errors.push(Error::forbidden(&path, detail));
            }
        }
        Some(other) => {
            errors.push(Error::not_supported(&path, other, &["Bidirectional", "HostToContainer", "None"]));
        }
    }
}
