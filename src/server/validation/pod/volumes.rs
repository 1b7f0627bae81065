//! Volumes of a pod: one source each.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, HostPathVolumeSource, KeyToPath, Volume, VolumeProjection};
use serde_json::Value;

use super::super::{json, quantity, required, required_name, text};
use super::env::{FILE_FIELDS, field_ref, resource_field_ref};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

pub fn volumes(errors: &mut Errors, path: &Path, volumes: &[Volume]) {
    let mut seen = HashSet::new();
    for (at, volume) in volumes.iter().enumerate() {
        let path = path.index(at);
        one_source(errors, &path, volume);
        source(errors, &path, volume);
        required_name(errors, &path.child("name"), &volume.name, names::dns1123_label);
        if !volume.name.is_empty() && !seen.insert(&volume.name) {
            errors.push(Error::duplicate(&path.child("name"), volume.name.as_str()));
        }
    }
}

fn one_source(errors: &mut Errors, path: &Path, volume: &Volume) {
    // Every field but the name is a source; the wire form tells which are set.
    let Value::Object(fields) = json(volume) else { return };
    let mut sources = fields.keys().filter(|name| *name != "name");
    if sources.next().is_none() {
        errors.push(Error::required(path, "must specify a volume type"));
    }
    for extra in sources {
        errors.push(Error::forbidden(&path.child(extra), "may not specify more than 1 volume type"));
    }
}

fn source(errors: &mut Errors, path: &Path, volume: &Volume) {
    if let Some(size) = volume.empty_dir.as_ref().and_then(|dir| dir.size_limit.as_ref()) {
        let path = path.child("emptyDir").child("sizeLimit");
        if quantity(errors, &path, size).is_some_and(|size| size.is_negative()) {
            errors.push(Error::forbidden(&path, "SizeLimit field must be a valid resource quantity"));
        }
    }
    if let Some(host_path) = &volume.host_path {
        self::host_path(errors, &path.child("hostPath"), host_path);
    }
    if let Some(secret) = &volume.secret {
        let path = path.child("secret");
        required(errors, &path.child("secretName"), text(&secret.secret_name));
        mode(errors, &path.child("defaultMode"), secret.default_mode);
        items(errors, &path.child("items"), secret.items.as_deref().unwrap_or_default());
    }
    if let Some(config_map) = &volume.config_map {
        let path = path.child("configMap");
        required(errors, &path.child("name"), &config_map.name);
        mode(errors, &path.child("defaultMode"), config_map.default_mode);
        items(errors, &path.child("items"), config_map.items.as_deref().unwrap_or_default());
    }
    if let Some(downward) = &volume.downward_api {
        let path = path.child("downwardAPI");
        mode(errors, &path.child("defaultMode"), downward.default_mode);
        for file in downward.items.iter().flatten() {
            downward_file(errors, &path, file);
        }
    }
    if let Some(projected) = &volume.projected {
        let path = path.child("projected");
        mode(errors, &path.child("defaultMode"), projected.default_mode);
        for (at, source) in projected.sources.iter().flatten().enumerate() {
            projection(errors, &path.child("sources").index(at), source);
        }
    }
    storage(errors, path, volume);
}

/// Sources that live elsewhere than on the node.
fn storage(errors: &mut Errors, path: &Path, volume: &Volume) {
    if let Some(claim) = &volume.persistent_volume_claim {
        required(errors, &path.child("persistentVolumeClaim").child("claimName"), &claim.claim_name);
    }
    if let Some(nfs) = &volume.nfs {
        let path = path.child("nfs");
        required(errors, &path.child("server"), &nfs.server);
        required(errors, &path.child("path"), &nfs.path);
        if !nfs.path.starts_with('/') {
            errors.push(Error::invalid(&path.child("path"), nfs.path.as_str(), "must be an absolute path"));
        }
    }
    if let Some(csi) = &volume.csi {
        required(errors, &path.child("csi").child("driver"), &csi.driver);
    }
    if let Some(git) = &volume.git_repo {
        required(errors, &path.child("gitRepo").child("repository"), &git.repository);
    }
    if let Some(ephemeral) = &volume.ephemeral
        && ephemeral.volume_claim_template.is_none()
    {
        errors.push(Error::required(&path.child("ephemeral").child("volumeClaimTemplate"), ""));
    }
    if let Some(image) = &volume.image {
        required(errors, &path.child("image").child("reference"), text(&image.reference));
    }
    if let Some(iscsi) = &volume.iscsi {
        let path = path.child("iscsi");
        required(errors, &path.child("targetPortal"), &iscsi.target_portal);
        required(errors, &path.child("iqn"), &iscsi.iqn);
    }
}

pub fn host_path(errors: &mut Errors, path: &Path, source: &HostPathVolumeSource) {
    if source.path.is_empty() {
        errors.push(Error::required(&path.child("path"), ""));
        return;
    }
    no_backsteps(errors, &path.child("path"), &source.path);
    let types = ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
    super::optional_one_of(errors, &path.child("type"), &source.type_, &types);
}

fn mode(errors: &mut Errors, path: &Path, mode: Option<i32>) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(Error::invalid(path, mode, MODE));
    }
}

fn items(errors: &mut Errors, path: &Path, items: &[KeyToPath]) {
    for (at, item) in items.iter().enumerate() {
        let path = path.index(at);
        required(errors, &path.child("key"), &item.key);
        file_path(errors, &path.child("path"), &item.path);
        mode(errors, &path.child("mode"), item.mode);
    }
}

fn downward_file(errors: &mut Errors, path: &Path, file: &DownwardAPIVolumeFile) {
    file_path(errors, &path.child("path"), &file.path);
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), other) => {
            field_ref(errors, &path.child("fieldRef"), field, FILE_FIELDS);
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(Error::invalid(path, "resource", detail));
            }
        }
        (None, Some(resource)) => resource_field_ref(errors, &path.child("resourceFieldRef"), resource, true),
        (None, None) => errors.push(Error::required(path, "one of fieldRef and resourceFieldRef is required")),
    }
    mode(errors, &path.child("mode"), file.mode);
}

fn projection(errors: &mut Errors, path: &Path, source: &VolumeProjection) {
    let Value::Object(fields) = json(source) else { return };
    for extra in fields.keys().skip(1) {
        errors.push(Error::forbidden(&path.child(extra), "may not specify more than 1 volume type per source"));
    }
    if fields.is_empty() {
        errors.push(Error::required(path, "must specify a volume type"));
    }
    if let Some(secret) = &source.secret {
        required(errors, &path.child("secret").child("name"), &secret.name);
        items(errors, &path.child("secret").child("items"), secret.items.as_deref().unwrap_or_default());
    }
    if let Some(config_map) = &source.config_map {
        required(errors, &path.child("configMap").child("name"), &config_map.name);
        items(errors, &path.child("configMap").child("items"), config_map.items.as_deref().unwrap_or_default());
    }
    for file in source.downward_api.iter().flat_map(|downward| downward.items.iter().flatten()) {
        downward_file(errors, &path.child("downwardAPI"), file);
    }
    if let Some(token) = &source.service_account_token {
        let path = path.child("serviceAccountToken");
        let seconds = token.expiration_seconds.unwrap_or(3600);
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
        }
        if seconds > 1 << 32 {
            let detail = "may not specify a duration larger than 2^32 seconds";
            errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
        }
        required(errors, &path.child("path"), &token.path);
    }
}

/// The path of a file in a volume.
fn file_path(errors: &mut Errors, path: &Path, file: &str) {
    if file.is_empty() {
        errors.push(Error::required(path, ""));
        return;
    }
    local_path(errors, path, file);
    if file.starts_with("..") && !file.starts_with("../") {
        errors.push(Error::invalid(path, file, "must not start with '..'"));
    }
}

/// A path that stays below where it starts.
pub fn local_path(errors: &mut Errors, path: &Path, local: &str) {
    if local.starts_with('/') {
        errors.push(Error::invalid(path, local, "must be a relative path"));
    }
    no_backsteps(errors, path, local);
}

fn no_backsteps(errors: &mut Errors, path: &Path, local: &str) {
    if local.split('/').any(|part| part == "..") {
        errors.push(Error::invalid(path, local, "must not contain '..'"));
    }
}
