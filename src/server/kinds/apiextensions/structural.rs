//! Structural schemas: every field has a type outside of the logical operators, so that what is not specified can be
//! pruned. Called by `version`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{pattern, text};

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

pub fn structural(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    let mut found = Errors::new();
    invariants(&mut found, path, schema, Level::Root);
    logical(&mut found, schema, |found, at, nested| complete(found, path, schema, &at(path), nested));
    found.sort_by_key(ToString::to_string);
    errors.extend(found);
}

pub(super) fn set(flag: Option<bool>) -> bool {
    flag == Some(true)
}

pub(super) fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

fn property<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    schema.properties.as_ref()?.get(name)
}

fn invariants(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, level: Level) {
    if text(&schema.type_) == "array" && schema.items.is_none() {
        errors.push(Error::required(&path.child("items"), "must be specified"));
    }
    if let Some(items) = items(schema) {
        invariants(errors, &path.child("items"), items, Level::Item);
    }
    for (name, property) in schema.properties.iter().flatten() {
        invariants(errors, &path.child("properties").key(name), property, Level::Field);
    }
    if let Some(additional) = &schema.additional_properties {
        let here = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(Error::forbidden(&here, "must not be used at the root"));
        }
        if let JSONSchemaPropsOrBool::Schema(additional) = additional {
            invariants(errors, &here, additional, Level::Field);
        }
    }
    if set(schema.x_kubernetes_int_or_string) {
        let others = [
            ("x-kubernetes-preserve-unknown-fields", set(schema.x_kubernetes_preserve_unknown_fields)),
            ("x-kubernetes-embedded-resource", set(schema.x_kubernetes_embedded_resource)),
        ];
        for (field, _) in others.into_iter().filter(|(_, given)| *given) {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(Error::invalid(&path.child(field), true, detail));
        }
    }
    values(errors, path, schema);
    typed(errors, path, schema, level);
    metadata(errors, path, schema, level);
}

fn typed(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, level: Level) {
    let (here, kind) = (path.child("type"), text(&schema.type_));
    let embedded = set(schema.x_kubernetes_embedded_resource);
    let open = set(schema.x_kubernetes_preserve_unknown_fields);
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        match kind {
            "" => errors.push(Error::required(&here, detail)),
            kind => errors.push(Error::invalid(&here, kind, detail)),
        }
    } else if kind.is_empty() && !set(schema.x_kubernetes_int_or_string) && !open {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(Error::required(&here, detail));
    }
    if embedded && schema.additional_properties.is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(Error::forbidden(&path.child("additionalProperties"), detail));
    }
    if level == Level::Root && !matches!(kind, "" | "object") {
        errors.push(Error::invalid(&here, kind, "must be object at the root"));
    }
    if embedded && !open && schema.properties.as_ref().is_none_or(|properties| properties.is_empty()) {
        let detail =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&path.child("properties"), detail));
    }
}

/// What every object has is not the definition's to describe.
fn metadata(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, level: Level) {
    if level != Level::Root && !set(schema.x_kubernetes_embedded_resource) {
        return;
    }
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let kind = property(schema, name).map(|property| text(&property.type_));
        if let Some(kind) = kind.filter(|kind| *kind != wanted) {
            let path = path.child("properties").key(name).child("type");
            errors.push(Error::invalid(&path, kind, format!("must be {wanted}")));
        }
    }
    let Some(metadata) = property(schema, "metadata").filter(|_| level == Level::Root) else { return };
    let mut rest = metadata.clone();
    (rest.type_, rest.default) = (None, None);
    let names = rest.properties.iter().flatten().map(|(name, _)| name.as_str());
    if names.into_iter().all(|name| matches!(name, "name" | "generateName")) {
        rest.properties = None;
    }
    // Rules about values are no part of the structure.
    let structure = JSONSchemaProps {
        properties: rest.properties,
        additional_properties: rest.additional_properties,
        items: rest.items,
        description: rest.description,
        title: rest.title,
        nullable: rest.nullable,
        x_kubernetes_embedded_resource: rest.x_kubernetes_embedded_resource,
        x_kubernetes_int_or_string: rest.x_kubernetes_int_or_string,
        x_kubernetes_list_map_keys: rest.x_kubernetes_list_map_keys,
        x_kubernetes_list_type: rest.x_kubernetes_list_type,
        x_kubernetes_map_type: rest.x_kubernetes_map_type,
        x_kubernetes_preserve_unknown_fields: rest.x_kubernetes_preserve_unknown_fields,
        ..Default::default()
    };
    if structure != JSONSchemaProps::default() {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(Error::forbidden(&path.child("properties").key("metadata"), detail));
    }
}

/// `anyOf: [{type: integer}, {type: string}]`, which only repeats what an int-or-string is.
fn is_int_or_string(any_of: &Option<Vec<JSONSchemaProps>>) -> bool {
    let of = |kind: &str| JSONSchemaProps { type_: Some(kind.to_owned()), ..Default::default() };
    any_of.as_ref().is_some_and(|list| *list == [of("integer"), of("string")])
}

/// The schemas under logical operators, with their places below a path.
fn logical(
    errors: &mut Errors,
    schema: &JSONSchemaProps,
    mut visit: impl FnMut(&mut Errors, &dyn Fn(&Path) -> Path, &JSONSchemaProps),
) {
    for (field, list) in [("anyOf", &schema.any_of), ("allOf", &schema.all_of), ("oneOf", &schema.one_of)] {
        for (at, nested) in list.iter().flatten().enumerate() {
            visit(errors, &|path: &Path| path.child(field).index(at), nested);
        }
    }
    if let Some(not) = &schema.not {
        visit(errors, &|path: &Path| path.child("not"), not);
    }
}

fn values(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    let given = text(&schema.pattern);
    if let Some(problem) = pattern::problem(given) {
        let detail = format!("must be a valid regular expression, but isn't: {problem}");
        errors.push(Error::invalid(&path.child("pattern"), given, detail));
    }
    let skip_any = is_int_or_string(&schema.any_of);
    let first = schema.all_of.as_ref().and_then(|list| list.first());
    let skip_first = first.filter(|first| is_int_or_string(&first.any_of)).map(std::ptr::from_ref);
    let skipped = schema.any_of.as_deref().filter(|_| skip_any).unwrap_or_default();
    logical(errors, schema, |errors, at, one| {
        if !skipped.iter().any(|skipped| std::ptr::eq(skipped, one)) {
            nested(errors, &at(path), one, skip_first == Some(std::ptr::from_ref(one)));
        }
    });
}

/// Under a logical operator, only rules about values.
fn nested(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, skip_any: bool) {
    if skip_any {
        values(errors, path, &JSONSchemaProps { any_of: None, ..schema.clone() });
    } else {
        let plain = schema.any_of.is_some() && is_int_or_string(&schema.any_of);
        values(errors, path, schema);
        for (at, one) in schema.any_of.iter().flatten().enumerate().filter(|_| plain) {
            nested(errors, &path.child("anyOf").index(at), one, false);
        }
    }
    if let Some(items) = items(schema) {
        nested(errors, &path.child("items"), items, false);
    }
    for (name, property) in schema.properties.iter().flatten() {
        nested(errors, &path.child("properties").key(name), property, false);
    }
    let forbidden = [
        ("type", !text(&schema.type_).is_empty(), "must be empty to be structural"),
        ("additionalProperties", schema.additional_properties.is_some(), "must be undefined to be structural"),
        ("default", schema.default.is_some(), "must be undefined to be structural"),
        ("title", !text(&schema.title).is_empty(), "must be empty to be structural"),
        ("description", !text(&schema.description).is_empty(), "must be empty to be structural"),
        ("nullable", set(schema.nullable), "must be false to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            set(schema.x_kubernetes_preserve_unknown_fields),
            "must be false to be structural",
        ),
        (
            "x-kubernetes-embedded-resource",
            set(schema.x_kubernetes_embedded_resource),
            "must be false to be structural",
        ),
        ("x-kubernetes-int-or-string", set(schema.x_kubernetes_int_or_string), "must be false to be structural"),
        (
            "x-kubernetes-list-map-keys",
            schema.x_kubernetes_list_map_keys.as_ref().is_some_and(|keys| !keys.is_empty()),
            "must be empty to be structural",
        ),
        ("x-kubernetes-list-type", schema.x_kubernetes_list_type.is_some(), "must be undefined to be structural"),
        ("x-kubernetes-map-type", schema.x_kubernetes_map_type.is_some(), "must be undefined to be structural"),
        (
            "x-kubernetes-validations",
            schema.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty()),
            "must be empty to be structural",
        ),
    ];
    for (field, _, detail) in forbidden.into_iter().filter(|(_, given, _)| *given) {
        errors.push(Error::forbidden(&path.child(field), detail));
    }
    if property(schema, "metadata").is_some() {
        let detail = "must not be specified in a nested context";
        errors.push(Error::forbidden(&path.child("properties").key("metadata"), detail));
    }
}

/// What is restricted under an operator must be specified outside of it too.
fn complete(errors: &mut Errors, path: &Path, outside: &JSONSchemaProps, at: &Path, inside: &JSONSchemaProps) {
    logical(errors, inside, |errors, deeper, one| complete(errors, path, outside, &deeper(at), one));
    let mut both = |path: Path, outside: Option<&JSONSchemaProps>, at: Path, inside: &JSONSchemaProps| match outside {
        None => errors.push(Error::required(&path, format!("because it is defined in {at}"))),
        Some(outside) => complete(errors, &path, outside, &at, inside),
    };
    if let Some(one) = items(inside) {
        both(path.child("items"), items(outside), at.child("items"), one);
    }
    for (name, one) in inside.properties.iter().flatten() {
        let (path, at) = (path.child("properties").key(name), at.child("properties").key(name));
        both(path, property(outside, name), at, one);
    }
}
