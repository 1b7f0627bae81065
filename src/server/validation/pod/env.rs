//! Environment variables and where they come from.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};

use super::super::{named, required, required_name, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// Fields of its pod that a variable can show.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of its pod that a file can show.
pub const FILE_FIELDS: &[&str] =
    &["metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"];

pub fn env(errors: &mut Errors, path: &Path, variables: &[EnvVar]) {
    for (at, variable) in variables.iter().enumerate() {
        let path = path.index(at);
        required_name(errors, &path.child("name"), &variable.name, names::env_var_name);
        if let Some(source) = &variable.value_from {
            value_from(errors, &path.child("valueFrom"), source, text(&variable.value));
        }
    }
}

fn value_from(errors: &mut Errors, path: &Path, source: &EnvVarSource, value: &str) {
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        field_ref(errors, &path.child("fieldRef"), field, ENV_FIELDS);
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        resource_field_ref(errors, &path.child("resourceFieldRef"), resource, false);
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        let path = path.child("configMapKeyRef");
        required(errors, &path.child("name"), &key.name);
        required_name(errors, &path.child("key"), &key.key, names::config_map_key);
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        let path = path.child("secretKeyRef");
        required(errors, &path.child("name"), &key.name);
        required_name(errors, &path.child("key"), &key.key, names::config_map_key);
    }
    if let Some(key) = &source.file_key_ref {
        sources += 1;
        let path = path.child("fileKeyRef");
        required(errors, &path.child("volumeName"), &key.volume_name);
        required(errors, &path.child("path"), &key.path);
        required_name(errors, &path.child("key"), &key.key, names::env_var_name);
    }
    let problem = match (sources, value.is_empty()) {
        (0, _) => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        (_, false) => "may not be specified when `value` is not empty",
        (1, true) => return,
        (_, true) => "may not have more than one field specified at a time",
    };
    errors.push(Error::invalid(path, "", problem));
}

/// A field of the pod: one of `fields`, or one label or annotation.
pub fn field_ref(errors: &mut Errors, path: &Path, field: &ObjectFieldSelector, fields: &[&str]) {
    required(errors, &path.child("apiVersion"), text(&field.api_version));
    let wanted = field.field_path.as_str();
    if wanted.is_empty() {
        errors.push(Error::required(&path.child("fieldPath"), ""));
        return;
    }
    let path = path.child("fieldPath");
    if let Some((map, key)) = wanted.strip_suffix("']").and_then(|start| start.split_once("['")) {
        match map {
            "metadata.annotations" => named(errors, &path, key, names::qualified_name(&key.to_lowercase())),
            "metadata.labels" => named(errors, &path, key, names::qualified_name(key)),
            _ => errors.push(Error::invalid(&path, wanted, "does not support subscript")),
        }
    } else if !fields.contains(&wanted) {
        let known = ENV_FIELDS.contains(&wanted) || FILE_FIELDS.contains(&wanted);
        errors.push(match known {
            true => Error::not_supported(&path, wanted, fields),
            false => Error::invalid(
                &path,
                wanted,
                format!("error converting fieldPath: field label not supported: {wanted}"),
            ),
        });
    }
}

/// A container's resource; in a volume the container must be named.
pub fn resource_field_ref(errors: &mut Errors, path: &Path, field: &ResourceFieldSelector, in_volume: bool) {
    const RESOURCES: &[&str] = &[
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
    ];
    if in_volume && text(&field.container_name).is_empty() {
        errors.push(Error::required(&path.child("containerName"), ""));
        return;
    }
    let resource = field.resource.as_str();
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if resource.is_empty() {
        errors.push(Error::required(&path.child("resource"), ""));
    } else if !huge && !RESOURCES.contains(&resource) {
        errors.push(Error::not_supported(&path.child("resource"), resource, RESOURCES));
    }
}

pub fn env_from(errors: &mut Errors, path: &Path, sources: &[EnvFromSource]) {
    for (at, source) in sources.iter().enumerate() {
        let path = path.index(at);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            named(errors, &path.child("prefix"), prefix, names::env_var_name(prefix));
        }
        if let Some(config_map) = &source.config_map_ref {
            required(errors, &path.child("configMapRef").child("name"), &config_map.name);
        }
        if let Some(secret) = &source.secret_ref {
            required(errors, &path.child("secretRef").child("name"), &secret.name);
        }
        let problem = match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => "must specify one of: `configMapRef` or `secretRef`",
            (Some(_), Some(_)) => "may not have more than one field specified at a time",
            _ => continue,
        };
        errors.push(Error::invalid(&path, "", problem));
    }
}
