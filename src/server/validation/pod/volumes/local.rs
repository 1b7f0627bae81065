//! Sources that the node itself fills: directories, secrets, config maps, the pod's own fields.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource, GitRepoVolumeSource,
    HostPathVolumeSource, KeyToPath, SecretVolumeSource,
};

use super::super::super::{optional_one_of, paths, quantity, required, text};
use super::super::env::{FILE_FIELDS, field_ref, resource_field_ref};
use crate::api::field::{Error, Errors, Path};

pub fn empty_dir(errors: &mut Errors, path: &Path, dir: &EmptyDirVolumeSource) {
    let Some(size) = &dir.size_limit else { return };
    let path = path.child("sizeLimit");
    if quantity(errors, &path, size).is_some_and(|size| size.is_negative()) {
        errors.push(Error::forbidden(&path, "SizeLimit field must be a valid resource quantity"));
    }
}

pub fn host_path(errors: &mut Errors, path: &Path, source: &HostPathVolumeSource) {
    if source.path.is_empty() {
        errors.push(Error::required(&path.child("path"), ""));
        return;
    }
    paths::no_backsteps(errors, &path.child("path"), &source.path);
    let types = ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
    optional_one_of(errors, &path.child("type"), &source.type_, &types);
}

pub fn git_repo(errors: &mut Errors, path: &Path, git: &GitRepoVolumeSource) {
    required(errors, &path.child("repository"), &git.repository);
    paths::local(errors, &path.child("directory"), text(&git.directory));
}

pub fn secret(errors: &mut Errors, path: &Path, secret: &SecretVolumeSource) {
    required(errors, &path.child("secretName"), text(&secret.secret_name));
    paths::mode(errors, &path.child("defaultMode"), secret.default_mode);
    items(errors, &path.child("items"), secret.items.as_deref().unwrap_or_default());
}

pub fn config_map(errors: &mut Errors, path: &Path, config_map: &ConfigMapVolumeSource) {
    required(errors, &path.child("name"), &config_map.name);
    paths::mode(errors, &path.child("defaultMode"), config_map.default_mode);
    items(errors, &path.child("items"), config_map.items.as_deref().unwrap_or_default());
}

fn items(errors: &mut Errors, path: &Path, items: &[KeyToPath]) {
    for (at, one) in items.iter().enumerate() {
        item(errors, &path.index(at), one);
    }
}

/// A key that becomes a file.
pub fn item(errors: &mut Errors, path: &Path, item: &KeyToPath) {
    required(errors, &path.child("key"), &item.key);
    paths::file(errors, &path.child("path"), &item.path);
    paths::mode(errors, &path.child("mode"), item.mode);
}

pub fn downward_api(errors: &mut Errors, path: &Path, downward: &DownwardAPIVolumeSource) {
    paths::mode(errors, &path.child("defaultMode"), downward.default_mode);
    for file in downward.items.iter().flatten() {
        downward_file(errors, path, file);
    }
}

pub fn downward_file(errors: &mut Errors, path: &Path, file: &DownwardAPIVolumeFile) {
    paths::file(errors, &path.child("path"), &file.path);
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
    paths::mode(errors, &path.child("mode"), file.mode);
}
