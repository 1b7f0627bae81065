//! Environment variables and where they come from.

use k8s_openapi::api::core::v1::{
    EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector, PodSpec, ResourceFieldSelector,
};

use super::super::{named, paths, required, required_name, text};
use super::visit;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::quantity::Quantity;

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

/// Fields of a pod that the downward API knows besides, though it shows them nowhere.
const OTHER_FIELDS: &[&str] = &["spec.restartPolicy", "spec.schedulerName", "spec.host", "status.phase"];

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
    let keys = [
        ("configMapKeyRef", source.config_map_key_ref.as_ref().map(|key| (&key.name, &key.key))),
        ("secretKeyRef", source.secret_key_ref.as_ref().map(|key| (&key.name, &key.key))),
    ];
    for (field, key) in keys {
        let Some((name, key)) = key else { continue };
        sources += 1;
        let path = path.child(field);
        named(errors, &path.child("name"), name, names::dns1123_subdomain(name));
        required_name(errors, &path.child("key"), key, names::config_map_key);
    }
    if let Some(key) = &source.file_key_ref {
        sources += 1;
        file_key(errors, &path.child("fileKeyRef"), key);
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

fn file_key(errors: &mut Errors, path: &Path, key: &FileKeySelector) {
    required_name(errors, &path.child("key"), &key.key, names::env_var_name);
    required_name(errors, &path.child("volumeName"), &key.volume_name, names::dns1123_label);
    required(errors, &path.child("path"), &key.path);
    paths::no_backsteps(errors, &path.child("path"), &key.path);
}

/// Files that variables come from lie in volumes that begin empty; `path` is the spec's.
pub fn file_volumes(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    for (container, path) in visit::containers(spec, path) {
        for (at, variable) in container.env.iter().flatten().enumerate() {
            let key = variable.value_from.as_ref().and_then(|source| source.file_key_ref.as_ref());
            let Some(name) = key.map(|key| key.volume_name.as_str()) else { continue };
            let path = path.child("env").index(at).child("valueFrom").child("fileKeyRef").child("volumeName");
            match spec.volumes.iter().flatten().rfind(|volume| volume.name == name) {
                None => errors.push(Error::not_found(&path, name)),
                Some(volume) if volume.empty_dir.is_none() => {
                    errors.push(Error::invalid(&path, name, "referenced volume must be of type emptyDir"));
                }
                Some(_) => {}
            }
        }
    }
}

/// A field of the pod: one of `fields`, or one label or annotation.
pub fn field_ref(errors: &mut Errors, path: &Path, field: &ObjectFieldSelector, fields: &[&str]) {
    let version = text(&field.api_version);
    if version.is_empty() {
        return errors.push(Error::required(&path.child("apiVersion"), ""));
    }
    let (here, wanted) = (path.child("fieldPath"), field.field_path.as_str());
    if wanted.is_empty() {
        return errors.push(Error::required(&here, ""));
    }
    let unknown = |why: String| Error::invalid(&here, wanted, format!("error converting fieldPath: {why}"));
    if version != "v1" {
        return errors.push(unknown(format!("unsupported pod version: {version}")));
    }
    match wanted.strip_suffix("']").and_then(|start| start.split_once("['")) {
        Some(("metadata.annotations", key)) => named(errors, path, key, names::qualified_name(&key.to_lowercase())),
        Some(("metadata.labels", key)) => named(errors, path, key, names::qualified_name(key)),
        Some(_) => errors.push(unknown(format!("field label does not support subscript: {wanted}"))),
        None if fields.contains(&wanted) => {}
        None if [ENV_FIELDS, FILE_FIELDS, OTHER_FIELDS].concat().contains(&wanted) => {
            errors.push(Error::not_supported(&here, wanted, fields));
        }
        None => errors.push(unknown(format!("field label not supported: {wanted}"))),
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
    let resource = field.resource.as_str();
    let huge = ["limits.hugepages-", "requests.hugepages-"].iter().any(|prefix| resource.starts_with(prefix));
    if in_volume && text(&field.container_name).is_empty() {
        errors.push(Error::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(Error::required(&path.child("resource"), ""));
    } else if !huge && !RESOURCES.contains(&resource) {
        errors.push(Error::not_supported(&path.child("resource"), resource, RESOURCES));
    }
    divisor(errors, &path.child("divisor"), field);
}

/// The unit in which the amount is shown.
fn divisor(errors: &mut Errors, path: &Path, field: &ResourceFieldSelector) {
    const BYTES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let Some(divisor) = &field.divisor else { return };
    let Some(read) = super::super::quantity(errors, path, divisor).filter(|read| *read != Quantity::ZERO) else {
        return;
    };
    let Some((_, resource)) = field.resource.split_once('.') else { return };
    let kind = match resource {
        "cpu" if ["1m", "1"].contains(&read.to_string().as_str()) => return,
        "cpu" => {
            let detail = "only divisor's values 1m and 1 are supported with the cpu resource";
            return errors.push(Error::invalid(path, field.resource.as_str(), detail));
        }
        "memory" => "memory",
        "ephemeral-storage" => "local ephemeral storage",
        _ if resource.starts_with("hugepages-") => "hugepages",
        _ => return,
    };
    if !BYTES.contains(&read.to_string().as_str()) {
        let detail = format!("only divisor's values {} are supported with the {kind} resource", BYTES.join(", "));
        errors.push(Error::invalid(path, field.resource.as_str(), detail));
    }
}

pub fn env_from(errors: &mut Errors, path: &Path, sources: &[EnvFromSource]) {
    for (at, source) in sources.iter().enumerate() {
        let here = path.index(at);
        let prefix = text(&source.prefix);
        if !prefix.is_empty() {
            named(errors, &here.child("prefix"), prefix, names::env_var_name(prefix));
        }
        let whole = [
            ("configMapRef", source.config_map_ref.as_ref().map(|it| &it.name)),
            ("secretRef", source.secret_ref.as_ref().map(|it| &it.name)),
        ];
        for (field, name) in whole {
            let Some(name) = name else { continue };
            let check = |name: &str| names::dns1123_subdomain(&names::mask_trailing_dash(name));
            required_name(errors, &here.child(field).child("name"), name, check);
        }
        // Upstream tells of these at the list.
        let problem = match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => "must specify one of: `configMapRef` or `secretRef`",
            (Some(_), Some(_)) => "may not have more than one field specified at a time",
            _ => continue,
        };
        errors.push(Error::invalid(path, "", problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::{Value, json};

    #[test]
    fn sources_of_variables() {
        let fields = ENV_FIELDS.iter().map(|field| format!("{field:?}")).collect::<Vec<_>>().join(", ");
        let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        let cases: Vec<(Value, Vec<String>)> = vec![
            (json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}), vec![]),
            (json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['a/b']"}}), vec![]),
            (
                json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "status.phase"}}),
                vec![format!("f.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: {fields}")],
            ),
            (
                json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.x"}}),
                vec!["f.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x".to_owned()],
            ),
            (
                json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1k"}}),
                vec!["f.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource".to_owned()],
            ),
            (json!({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}), vec![]),
            (
                json!({"configMapKeyRef": {"name": "", "key": "a"}}),
                vec![format!("f.configMapKeyRef.name: Invalid value: \"\": {subdomain}")],
            ),
        ];
        for (given, expected) in cases {
            let source: EnvVarSource = serde_json::from_value(given.clone()).unwrap();
            let mut errors = Errors::new();
            value_from(&mut errors, &Path::new("f"), &source, "");
            assert_eq!(lines(&errors), expected, "{given}");
        }
    }
}
