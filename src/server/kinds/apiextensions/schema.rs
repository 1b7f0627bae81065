//! What every schema in a definition must keep to, wherever it stands, structural or not.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray, ValidationRule,
};

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{json, text};

/// What is above a schema.
#[derive(Clone, Copy)]
struct Scope {
    is_root: bool,
    /// Inside of `metadata`, `kind` or `apiVersion`, whose schema is not the definition's to write.
    in_meta: bool,
    /// Why nothing here may have a default.
    no_defaults: Option<&'static str>,
}

pub fn root(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    walk(errors, path, schema, Scope { is_root: true, in_meta: false, no_defaults: None });
}

/// With a status of its own, the root can only say what stays true when the status is taken out.
pub fn root_with_status(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    const ALLOWED: [(&str, &str); 22] = [
        ("Description", "description"),
        ("Type", "type"),
        ("Format", "format"),
        ("Title", "title"),
        ("Maximum", "maximum"),
        ("ExclusiveMaximum", "exclusiveMaximum"),
        ("Minimum", "minimum"),
        ("ExclusiveMinimum", "exclusiveMinimum"),
        ("MaxLength", "maxLength"),
        ("MinLength", "minLength"),
        ("Pattern", "pattern"),
        ("MaxItems", "maxItems"),
        ("MinItems", "minItems"),
        ("UniqueItems", "uniqueItems"),
        ("MultipleOf", "multipleOf"),
        ("Required", "required"),
        ("Items", "items"),
        ("Properties", "properties"),
        ("ExternalDocs", "externalDocs"),
        ("Example", "example"),
        ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
        ("XValidations", "x-kubernetes-validations"),
    ];
    let kind = text(&schema.type_);
    if !matches!(kind, "" | "object") {
        let detail =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(Error::invalid(&path.child("openAPIV3Schema").child("type"), kind, detail));
    }
    let value = json(schema);
    let mut fields = value.as_object().into_iter().flat_map(serde_json::Map::keys);
    if fields.any(|field| !ALLOWED.iter().any(|(_, allowed)| allowed == field)) {
        let names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.push(Error::invalid(&path.child("openAPIV3Schema"), value.clone(), detail));
    }
}

fn walk(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, scope: Scope) {
    unsupported(errors, path, schema, scope);
    if schema.unique_items == Some(true) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(Error::forbidden(&path.child("uniqueItems"), detail));
    }
    children(errors, path, schema, scope);
    if schema.x_kubernetes_preserve_unknown_fields == Some(false) {
        let here = path.child("x-kubernetes-preserve-unknown-fields");
        errors.push(Error::invalid(&here, false, "must be true or undefined"));
    }
    extensions(errors, path, schema);
    for (at, rule) in schema.x_kubernetes_validations.iter().flatten().enumerate() {
        let here = path.child("x-kubernetes-validations").index(at);
        validation_rule(errors, &here, rule);
        let field = text(&rule.field_path);
        if !field.is_empty() && !leads_somewhere(schema, field) {
            errors.push(Error::invalid(&here.child("fieldPath"), field, "fieldPath must be a valid path"));
        }
    }
}

/// Parts of JSON schema that definitions cannot use.
fn unsupported(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, scope: Scope) {
    let kind = text(&schema.type_);
    let types = ["array", "boolean", "integer", "number", "object", "string"];
    if !kind.is_empty() && !types.contains(&kind) {
        errors.push(Error::not_supported(&path.child("type"), kind, &types));
    }
    if let Some(reason) = scope.no_defaults.filter(|_| schema.default.is_some()) {
        errors.push(Error::forbidden(&path.child("default"), format!("must not be set {reason}")));
    }
    let given = [
        ("id", !text(&schema.id).is_empty()),
        ("additionalItems", schema.additional_items.is_some()),
        ("patternProperties", schema.pattern_properties.as_ref().is_some_and(|map| !map.is_empty())),
        ("definitions", schema.definitions.as_ref().is_some_and(|map| !map.is_empty())),
        ("dependencies", schema.dependencies.is_some()),
        ("$ref", schema.ref_path.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        errors.push(Error::forbidden(&path.child(field), format!("{field} is not supported")));
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.push(Error::forbidden(&path.child("type"), detail));
    }
    if let Some(JSONSchemaPropsOrArray::Schemas(schemas)) = &schema.items
        && !schemas.is_empty()
    {
        errors.push(Error::forbidden(&path.child("items"), "items must be a schema object and not an array"));
    }
    if scope.in_meta && schema.x_kubernetes_embedded_resource == Some(true) {
        let detail = "must not be used inside of resource meta";
        errors.push(Error::forbidden(&path.child("x-kubernetes-embedded-resource"), detail));
    }
}

fn children(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, scope: Scope) {
    let below = Scope { is_root: false, ..scope };
    if let Some(additional) = &schema.additional_properties {
        let here = path.child("additionalProperties");
        let has_properties = schema.properties.as_ref().is_some_and(|properties| !properties.is_empty());
        if has_properties && *additional != JSONSchemaPropsOrBool::Bool(true) {
            errors.push(Error::forbidden(&here, "additionalProperties and properties are mutual exclusive"));
        }
        if let JSONSchemaPropsOrBool::Schema(additional) = additional {
            let reason = "inside additionalProperties applying to object metadata";
            let no_defaults = if scope.in_meta { Some(reason) } else { scope.no_defaults };
            walk(errors, &here, additional, Scope { no_defaults, ..below });
        }
    }
    let is_object = scope.is_root || schema.x_kubernetes_embedded_resource == Some(true);
    for (name, property) in schema.properties.iter().flatten() {
        let mut inside = below;
        let reason = match name.as_str() {
            "metadata" => Some("in top-level metadata"),
            "kind" => Some("in top-level kind"),
            "apiVersion" => Some("in top-level apiVersion"),
            _ => None,
        };
        if let (true, Some(reason)) = (is_object, reason) {
            inside.in_meta = true;
            inside.no_defaults = if scope.is_root { Some(reason) } else { inside.no_defaults };
        }
        walk(errors, &path.child("properties").key(name), property, inside);
    }
    if let Some(not) = &schema.not {
        walk(errors, &path.child("not"), not, below);
    }
    for (field, list) in [("allOf", &schema.all_of), ("oneOf", &schema.one_of), ("anyOf", &schema.any_of)] {
        for (at, one) in list.iter().flatten().enumerate() {
            walk(errors, &path.child(field).index(at), one, below);
        }
    }
    for (name, definition) in schema.definitions.iter().flatten() {
        walk(errors, &path.child("definitions").key(name), definition, below);
    }
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => walk(errors, &path.child("items"), items, below),
        Some(JSONSchemaPropsOrArray::Schemas(schemas)) => {
            for (at, one) in schemas.iter().enumerate() {
                walk(errors, &path.child("items").index(at), one, below);
            }
        }
        None => {}
    }
    for (name, dependency) in schema.dependencies.iter().flatten() {
        if let JSONSchemaPropsOrStringArray::Schema(one) = dependency {
            walk(errors, &path.child("dependencies").key(name), one, below);
        }
    }
}

/// The type that an extension needs.
fn must_be(errors: &mut Errors, path: &Path, kind: &str, wanted: &str, extension: &str) -> bool {
    let detail = format!("must be {wanted} if {extension} is specified");
    match kind {
        "" => errors.push(Error::required(&path.child("type"), detail)),
        kind if kind != wanted => errors.push(Error::invalid(&path.child("type"), kind, detail)),
        _ => return true,
    }
    false
}

/// `x-kubernetes-map-type` and `x-kubernetes-list-type`.
fn extensions(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    let kind = text(&schema.type_);
    if let Some(map_type) = &schema.x_kubernetes_map_type {
        must_be(errors, path, kind, "object", "x-kubernetes-map-type");
        let supported = ["atomic", "granular"];
        if !supported.contains(&map_type.as_str()) {
            errors.push(Error::not_supported(&path.child("x-kubernetes-map-type"), map_type.as_str(), &supported));
        }
    }
    let list_type = schema.x_kubernetes_list_type.as_deref();
    let here = path.child("x-kubernetes-list-type");
    let items = match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items.as_ref()),
        _ => None,
    };
    if let Some(given) = list_type {
        if must_be(errors, path, kind, "array", "x-kubernetes-list-type") && given == "set" {
            items.into_iter().for_each(|items| atomic(errors, &path.child("items"), items));
        }
        let supported = ["atomic", "set", "map"];
        if !supported.contains(&given) {
            errors.push(Error::not_supported_in_order(&here, given, &supported));
        }
    }
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
    match list_type {
        None if !keys.is_empty() => errors.push(Error::required(&here, detail)),
        Some(other) if other != "map" && !keys.is_empty() => errors.push(Error::invalid(&here, other, detail)),
        Some("map") => map_list(errors, path, schema, items, keys),
        _ => {}
    }
    if let (Some(items), Some(list_type @ ("set" | "map"))) = (items, list_type)
        && items.nullable == Some(true)
    {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(Error::forbidden(&path.child("items").child("nullable"), detail));
    }
}

/// The items of a set are compared as wholes.
fn atomic(errors: &mut Errors, path: &Path, items: &JSONSchemaProps) {
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = items.x_kubernetes_list_type.as_deref();
    match text(&items.type_) {
        "array" if list_type.is_some_and(|kind| kind != "atomic") => {
            errors.push(Error::invalid(&path.child("x-kubernetes-list-type"), list_type, detail));
        }
        "object" if items.x_kubernetes_map_type.as_deref() != Some("atomic") => {
            // The value is that of the other extension upstream too.
            errors.push(Error::invalid(&path.child("x-kubernetes-map-type"), list_type, detail));
        }
        _ => {}
    }
}

/// A list whose items are told apart by some of their fields.
fn map_list(
    errors: &mut Errors,
    path: &Path,
    schema: &JSONSchemaProps,
    items: Option<&JSONSchemaProps>,
    keys: &[String],
) {
    let keys_path = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.push(Error::required(&keys_path, "must not be empty if x-kubernetes-list-type is map"));
    }
    let here = path.child("items");
    let Some(items) = items else {
        match &schema.items {
            None => errors.push(Error::required(&here, "must have a schema if x-kubernetes-list-type is map")),
            Some(list) => {
                let detail = "must only have a single schema if x-kubernetes-list-type is map";
                errors.push(Error::invalid(&here, json(list), detail));
            }
        }
        return;
    };
    if text(&items.type_) != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(Error::invalid(&here.child("type"), text(&items.type_), detail));
        return;
    }
    for (at, key) in keys.iter().enumerate() {
        let Some(property) = items.properties.as_ref().and_then(|properties| properties.get(key)) else {
            let detail = "entries must all be names of item properties";
            errors.push(Error::invalid(&keys_path, json(&keys), detail));
            continue;
        };
        if keys[..at].contains(key) {
            errors.push(Error::invalid(&keys_path, json(&keys), "must not contain duplicate entries"));
        }
        let here = here.child("properties").key(key);
        if matches!(text(&property.type_), "array" | "object") {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(Error::invalid(&here.child("type"), text(&items.type_), detail));
        }
        if !items.required.iter().flatten().any(|name| name == key) && property.default.is_none() {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(Error::required(&here.child("default"), detail));
        }
        if property.nullable == Some(true) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(Error::forbidden(&here.child("nullable"), detail));
        }
    }
}

/// Whether a path such as `.a['b.c']` is one of fields that a schema has.
fn leads_somewhere(schema: &JSONSchemaProps, path: &str) -> bool {
    let (name, rest) = match path.strip_prefix("['") {
        Some(quoted) => match quoted.split_once("']") {
            Some((name, rest)) => (name.replace("\\'", "'"), rest),
            None => return false,
        },
        None => {
            let Some(plain) = path.strip_prefix('.') else { return false };
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            (plain[..end].to_owned(), &plain[end..])
        }
    };
    let property = schema.properties.as_ref().and_then(|properties| properties.get(&name));
    let below = property.or(match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(below)) => Some(below),
        _ => None,
    });
    below.is_some_and(|below| rest.is_empty() || leads_somewhere(below, rest))
}

/// What can be said about a rule without reading its CEL.
fn validation_rule(errors: &mut Errors, path: &Path, rule: &ValidationRule) {
    let lines = |text: &str| text.contains(['\n', '\r']);
    let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let (message, here) = (text(&rule.message), path.child("message"));
    if rule.rule.trim().is_empty() {
        errors.push(Error::required(&path.child("rule"), "rule is not specified"));
    } else if blank(message) {
        errors.push(Error::invalid(&here, message, "message must be non-empty if specified"));
    } else if lines(message.trim()) {
        errors.push(Error::invalid(&here, message, "message must not contain line breaks"));
    } else if lines(rule.rule.trim()) && message.trim().is_empty() {
        errors.push(Error::required(&here, "message must be specified if rule contains line breaks"));
    }
    if blank(text(&rule.message_expression)) {
        let detail = "messageExpression must be non-empty if specified";
        errors.push(Error::required(&path.child("messageExpression"), detail));
    }
    let reasons = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
    crate::server::validation::optional_one_of(errors, &path.child("reason"), &rule.reason, &reasons);
    let (here, field) = (path.child("fieldPath"), text(&rule.field_path));
    if blank(field) {
        errors.push(Error::invalid(&here, field, "fieldPath must be non-empty if specified"));
    }
    if lines(field) {
        errors.push(Error::invalid(&here, field, "fieldPath must not contain line breaks"));
    }
}
