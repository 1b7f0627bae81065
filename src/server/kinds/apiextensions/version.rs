//! The versions of a definition: names, which one is stored, schemas, subresources, columns, selectable fields.

use std::collections::HashSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinitionVersion, CustomResourceSubresourceScale,
    CustomResourceSubresources, JSONSchemaProps, SelectableField,
};

use super::{defaults, expressions, rules::joined, schema, structural};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{json, text};

const SELECTABLE_MAX: usize = 8;
const WARNING_MAX: usize = 256;

type Version = CustomResourceDefinitionVersion;

/// Where a part of a version stands: above the versions where all have the same one.
fn shared<T: PartialEq>(versions: &[Version], part: impl Fn(&Version) -> Option<&T>) -> bool {
    versions.iter().all(|version| part(version).is_some() && part(version) == part(&versions[0]))
}

pub fn versions(errors: &mut Errors, path: &Path, versions: &[Version]) {
    let here = path.child("versions");
    for (at, version) in versions.iter().enumerate() {
        if schema_of(version).is_none() {
            let path = here.index(at).child("schema").child("openAPIV3Schema");
            errors.push(Error::required(&path, "schemas are required"));
        }
    }
    for (at, version) in versions.iter().enumerate() {
        let path = here.index(at);
        joined(errors, &path.child("name"), &version.name, "", names::dns1035_label(&version.name));
        deprecation(errors, &path.child("deprecationWarning"), version);
    }
    parts(errors, path, versions);
    let unique: HashSet<_> = versions.iter().map(|version| &version.name).collect();
    if unique.len() < versions.len() {
        errors.push(Error::invalid(&here, json(&versions), "must contain unique version names"));
    }
    if versions.iter().filter(|version| version.storage).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(Error::invalid(&here, json(&versions), detail));
    }
}

/// Every part of every version, those that all have in common once.
fn parts(errors: &mut Errors, path: &Path, versions: &[Version]) {
    let same_schema = shared(versions, |version| version.schema.as_ref());
    let same_subresources = shared(versions, |version| version.subresources.as_ref());
    let columns =
        |version: &Version| version.additional_printer_columns.as_ref().filter(|columns| !columns.is_empty()).is_some();
    let same_columns = versions.iter().all(columns)
        && versions.iter().all(|version| version.additional_printer_columns == versions[0].additional_printer_columns);
    let fields = |version: &Version| version.selectable_fields.as_ref().is_some_and(|fields| !fields.is_empty());
    let same_fields = versions.iter().all(fields)
        && versions.iter().all(|version| version.selectable_fields == versions[0].selectable_fields);
    for (at, version) in versions.iter().enumerate() {
        let own = path.child("versions").index(at);
        let place = |same: bool, above: &str, below: &str| match (same, at) {
            (true, 0) => Some(path.child(above)),
            (true, _) => None,
            (false, _) => Some(own.child(below)),
        };
        if let (Some(path), Some(schema)) = (place(same_schema, "validation", "schema"), schema_of(version)) {
            let has_status = |version: &Version| version.subresources.as_ref().is_some_and(|sub| sub.status.is_some());
            let status = if same_schema { versions.iter().any(has_status) } else { has_status(version) };
            whole_schema(errors, &path, schema, status);
        }
        if let (Some(path), Some(given)) =
            (place(same_subresources, "subresources", "subresources"), &version.subresources)
        {
            subresources(errors, &path, given);
        }
        if let Some(path) = place(same_columns, "additionalPrinterColumns", "additionalPrinterColumns") {
            for (at, given) in version.additional_printer_columns.iter().flatten().enumerate() {
                column(errors, &path.index(at), given);
            }
        }
        let path = place(same_fields, "selectableFields", "selectableFields");
        if let (Some(path), Some(schema)) = (path, schema_of(version)) {
            selectable(errors, &path, version.selectable_fields.as_deref().unwrap_or_default(), schema);
        }
    }
}

fn schema_of(version: &Version) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn whole_schema(errors: &mut Errors, path: &Path, root: &JSONSchemaProps, status: bool) {
    if status {
        schema::root_with_status(errors, path, root);
    }
    let path = path.child("openAPIV3Schema");
    if root.nullable == Some(true) {
        errors.push(Error::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
    let (before, mut structure) = (errors.len(), Errors::new());
    structural::structural(&mut structure, &path, root);
    if structure.is_empty() {
        defaults::valid(&mut structure, &path, root, true);
    }
    errors.extend(structure);
    schema::root(errors, &path, root);
    // What rules say of a schema that is wrong would be no help.
    if errors.len() == before {
        expressions::root(errors, &path, root);
    }
}

fn deprecation(errors: &mut Errors, path: &Path, version: &Version) {
    let Some(warning) = version.deprecation_warning.as_deref() else { return };
    let mut invalid = |detail: String| errors.push(Error::invalid(path, warning, detail));
    if version.deprecated != Some(true) {
        invalid("can only be set for deprecated versions".to_owned());
        return;
    }
    if warning.len() > WARNING_MAX {
        invalid(format!("must be <= {WARNING_MAX} characters long"));
    }
    if warning.is_empty() {
        invalid("must not be an empty string".to_owned());
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, letter)| is_hidden(*letter)) {
        invalid(format!("must only contain printable UTF-8 characters; non-printable character found at index {at}"));
    }
}

/// Of the letters that Go does not call printable: controls, and spaces other than the usual one.
fn is_hidden(letter: char) -> bool {
    letter.is_control() || (letter.is_whitespace() && letter != ' ')
}

fn subresources(errors: &mut Errors, path: &Path, given: &CustomResourceSubresources) {
    let Some(CustomResourceSubresourceScale { label_selector_path, spec_replicas_path, status_replicas_path }) =
        &given.scale
    else {
        return;
    };
    let mut replicas = |field: &str, value: &str, parent: &str| {
        let path = path.child("scale").child(field);
        if value.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if simple_path(errors, &path, value) && !value.starts_with(&format!("{parent}.")) {
            errors.push(Error::invalid(&path, value, format!("should be a json path under {parent}")));
        }
    };
    replicas("specReplicasPath", spec_replicas_path, ".spec");
    replicas("statusReplicasPath", status_replicas_path, ".status");
    let (path, selector) = (path.child("scale").child("labelSelectorPath"), text(label_selector_path));
    let under = selector.starts_with(".spec.") || selector.starts_with(".status.");
    if !selector.is_empty() && simple_path(errors, &path, selector) && !under {
        errors.push(Error::invalid(&path, selector, "should be a json path under either .spec or .status"));
    }
}

fn simple_path(errors: &mut Errors, path: &Path, value: &str) -> bool {
    let simple = value.starts_with('.');
    if !simple {
        errors.push(Error::invalid(path, value, "must be a simple json path starting with ."));
    }
    simple
}

fn column(errors: &mut Errors, path: &Path, column: &CustomResourceColumnDefinition) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    if column.name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    let (here, kind) = (path.child("type"), column.type_.as_str());
    let detail = format!("must be one of {}", TYPES.join(","));
    if kind.is_empty() {
        errors.push(Error::required(&here, detail));
    } else if !TYPES.contains(&kind) {
        errors.push(Error::invalid(&here, kind, detail));
    }
    let format = text(&column.format);
    if !format.is_empty() && !FORMATS.contains(&format) {
        let detail = format!("must be one of {}", FORMATS.join(","));
        errors.push(Error::invalid(&path.child("format"), format, detail));
    }
    let here = path.child("JSONPath");
    if column.json_path.is_empty() {
        errors.push(Error::required(&here, ""));
    } else {
        simple_path(errors, &here, &column.json_path);
    }
}

fn selectable(errors: &mut Errors, path: &Path, fields: &[SelectableField], root: &JSONSchemaProps) {
    let mut unique = HashSet::new();
    for (at, field) in fields.iter().enumerate() {
        let (path, value) = (path.index(at).child("jsonPath"), field.json_path.as_str());
        if value.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let Some(found) = field_at(root, value) else {
            errors.push(Error::invalid(&path, value, "is an invalid path: does not refer to a valid field"));
            continue;
        };
        if value.starts_with(".metadata") {
            errors.push(Error::invalid(&path, value, "must not point to fields in metadata"));
        }
        if !matches!(text(&found.type_), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(Error::invalid(&path, value, detail));
        }
        if !unique.insert(value) {
            errors.push(Error::duplicate(&path, value));
        }
    }
    if unique.len() > SELECTABLE_MAX {
        errors.push(Error::too_many(path, unique.len(), SELECTABLE_MAX));
    }
}

/// The schema that a path such as `.spec.color` leads to.
fn field_at<'a>(root: &'a JSONSchemaProps, path: &str) -> Option<&'a JSONSchemaProps> {
    path.strip_prefix('.')?.split('.').try_fold(root, |schema, name| schema.properties.as_ref()?.get(name))
}
