//! Defaults that their own schema would refuse, told in the words of upstream's validator. What follows from one field by
//! itself is checked: types, bounds, choices, what is required and what is unknown. Formats, patterns and the logical
//! operators are not looked at. Called by `version` for schemas that are structural.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrBool};
use serde_json::{Map, Value};

use super::structural::{items, set};
use crate::api::field::{Error, Errors, Path};
use crate::server::validation::text;

/// Every default below a schema. There are none in `additionalProperties`, nor in what every object has.
pub fn valid(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, is_object: bool) {
    if let Some(default) = &schema.default {
        let here = path.child("default");
        if has_unknown(&default.0, schema) {
            errors.push(Error::invalid(&here, default.0.clone(), "must not have unknown fields"));
        }
        check(errors, &here, "", &default.0, schema);
    }
    if let Some(items) = items(schema) {
        valid(errors, &path.child("items"), items, set(items.x_kubernetes_embedded_resource));
    }
    for (name, property) in schema.properties.iter().flatten() {
        if !(is_object && matches!(name.as_str(), "metadata" | "kind" | "apiVersion")) {
            let is_object = set(property.x_kubernetes_embedded_resource);
            valid(errors, &path.child("properties").key(name), property, is_object);
        }
    }
}

/// The schema of a field, where one is given.
fn of_field<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    let property = schema.properties.as_ref().and_then(|properties| properties.get(name));
    property.or(match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(additional)) => Some(additional),
        _ => None,
    })
}

/// Whether anything in the value would be pruned.
fn has_unknown(value: &Value, schema: &JSONSchemaProps) -> bool {
    let open = set(schema.x_kubernetes_preserve_unknown_fields)
        || matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Bool(true)));
    let own =
        |name: &str| set(schema.x_kubernetes_embedded_resource) && matches!(name, "metadata" | "kind" | "apiVersion");
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| match of_field(schema, name) {
            _ if own(name) => false,
            Some(known) => has_unknown(value, known),
            None => !open,
        }),
        Value::Array(all) => items(schema).is_some_and(|items| all.iter().any(|item| has_unknown(item, items))),
        _ => false,
    }
}

/// `name` is the place within the default, as the validator shows it.
fn check(errors: &mut Errors, path: &Path, name: &str, value: &Value, schema: &JSONSchemaProps) {
    let here = if name.is_empty() { path.clone() } else { path.child(name) };
    let told = |what: String| format!("{name} in body {what}");
    let (kind, wanted) = (kind_of(value), text(&schema.type_));
    let fits = wanted.is_empty()
        || wanted == kind
        || (wanted == "number" && kind == "integer")
        || (kind == "null" && set(schema.nullable));
    if !fits {
        return errors.push(Error::type_invalid(&here, kind, told(format!("must be of type {wanted}: {kind:?}"))));
    }
    if let Some(choices) = schema.enum_.as_ref().filter(|choices| !choices.iter().any(|choice| choice.0 == *value)) {
        let shown: Vec<String> = choices
            .iter()
            .map(|choice| choice.0.as_str().map_or_else(|| choice.0.to_string(), str::to_owned))
            .collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        errors.push(Error::not_supported_in_order(&here, value.clone(), &shown));
    }
    match value {
        Value::Object(fields) => object(errors, path, name, fields, schema),
        Value::Array(all) => list(errors, path, name, all, schema),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            bounds(number, schema)
                .into_iter()
                .for_each(|what| errors.push(Error::invalid(&here, value.clone(), told(what))));
        }
        Value::String(text) => {
            let letters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            if let Some(most) = schema.max_length.filter(|most| letters > *most) {
                errors.push(Error::too_long(&here, usize::try_from(most).unwrap_or_default()));
            }
            if let Some(least) = schema.min_length.filter(|least| letters < *least) {
                let what = told(format!("should be at least {least} chars long"));
                errors.push(Error::invalid(&here, value.clone(), what));
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn bounds(number: f64, schema: &JSONSchemaProps) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(unit) = schema.multiple_of.filter(|unit| (number / unit).fract() != 0.0) {
        wrong.push(format!("should be a multiple of {unit}"));
    }
    if let Some(most) = schema.maximum {
        match set(schema.exclusive_maximum) {
            true if number >= most => wrong.push(format!("should be less than {most}")),
            false if number > most => wrong.push(format!("should be less than or equal to {most}")),
            _ => {}
        }
    }
    if let Some(least) = schema.minimum {
        match set(schema.exclusive_minimum) {
            true if number <= least => wrong.push(format!("should be greater than {least}")),
            false if number < least => wrong.push(format!("should be greater than or equal to {least}")),
            _ => {}
        }
    }
    wrong
}

fn object(errors: &mut Errors, path: &Path, name: &str, fields: &Map<String, Value>, schema: &JSONSchemaProps) {
    let here = if name.is_empty() { path.clone() } else { path.child(name) };
    let number = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    let most = schema.max_properties.filter(|most| number > *most).map(|most| format!("at most {most}"));
    let least = schema.min_properties.filter(|least| number < *least).map(|least| format!("at least {least}"));
    for bound in most.into_iter().chain(least) {
        let what = format!("{name} in body should have {bound} properties");
        errors.push(Error::invalid(&here, Value::from(fields.clone()), what));
    }
    let below = |field: &str| if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") };
    for (field, value) in fields {
        if let Some(known) = of_field(schema, field) {
            check(errors, path, &below(field), value, known);
        }
    }
    for field in schema.required.iter().flatten().filter(|field| !fields.contains_key(*field)) {
        errors.push(Error::required(&path.child(&below(field)), ""));
    }
}

fn list(errors: &mut Errors, path: &Path, name: &str, all: &[Value], schema: &JSONSchemaProps) {
    let here = if name.is_empty() { path.clone() } else { path.child(name) };
    let number = i64::try_from(all.len()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_items.filter(|most| number > *most) {
        errors.push(Error::too_many(&here, all.len(), usize::try_from(most).unwrap_or_default()));
    }
    if let Some(least) = schema.min_items.filter(|least| number < *least) {
        let what = format!("{name} in body should have at least {least} items");
        errors.push(Error::invalid(&here, Value::from(all), what));
    }
    if let Some(items) = items(schema) {
        for (at, item) in all.iter().enumerate() {
            check(errors, path, &format!("{name}[{at}]"), item, items);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(schema: Value) -> Vec<String> {
        let mut errors = Errors::new();
        valid(&mut errors, &Path::new("s"), &serde_json::from_value(schema).unwrap(), false);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_default_keeps_to_its_own_schema() {
        let object = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "maximum": 5},
            "b": {"type": "array", "items": {"type": "string"}, "minItems": 2}}});
        let with = |schema: &Value, default: Value| {
            let mut schema = schema.clone();
            schema["default"] = default;
            schema
        };
        for (schema, expected) in [
            (
                json!({"type": "integer", "default": "x"}),
                "s.default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
            ),
            (
                json!({"type": "string", "default": "c", "enum": ["a", "b"]}),
                "s.default: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            ),
            (
                json!({"type": "string", "default": "", "minLength": 1}),
                "s.default: Invalid value: \"\":  in body should be at least 1 chars long",
            ),
            (
                with(&object, json!({"a": 6})),
                "s.default.a: Invalid value: 6: a in body should be less than or equal to 5",
            ),
            (with(&object, json!({})), "s.default.a: Required value"),
            (
                json!({"type": "integer", "default": 4, "multipleOf": 3}),
                "s.default: Invalid value: 4:  in body should be a multiple of 3",
            ),
            (
                json!({"type": "object", "default": {}, "minProperties": 1}),
                "s.default: Invalid value: {}:  in body should have at least 1 properties",
            ),
            (
                with(&object, json!({"a": 1, "c": 1})),
                "s.default: Invalid value: {\"a\":1,\"c\":1}: must not have unknown fields",
            ),
            (
                with(&object, json!({"a": 1, "b": ["x", 2]})),
                "s.default.b[1]: Invalid value: \"integer\": b[1] in body must be of type string: \"integer\"",
            ),
            (
                with(&object, json!({"a": 1, "b": ["x"]})),
                "s.default.b: Invalid value: [\"x\"]: b in body should have at least 2 items",
            ),
            (
                json!({"properties": {"x": {"type": "boolean", "default": 1}}}),
                "s.properties[x].default: Invalid value: \"integer\":  in body must be of type boolean: \"integer\"",
            ),
        ] {
            assert_eq!(told(schema.clone()), [expected], "{schema}");
        }
    }

    #[test]
    fn good_defaults_pass() {
        for schema in [
            json!({"type": "number", "default": 1}),
            json!({"type": "integer", "default": 1.0}),
            json!({"x-kubernetes-int-or-string": true, "default": "50%"}),
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "default": {"a": {"b": 1}}}),
            json!({"type": "object", "additionalProperties": {"type": "string"}, "default": {"a": "b"}}),
            json!({"type": "object", "additionalProperties": true, "default": {"a": 1}}),
            json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "nullable": true}}}, "default": [{"a": null}]}),
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"},
                "metadata": {"type": "object"}},
                "default": {"apiVersion": "v1", "kind": "A", "metadata": {"name": "x"}, "spec": {}}}),
        ] {
            assert_eq!(told(schema.clone()), [""; 0], "{schema}");
        }
    }
}
