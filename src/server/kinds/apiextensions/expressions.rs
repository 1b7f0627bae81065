//! The CEL of `x-kubernetes-validations`: what `self` is there, and whether a rule can be compiled. Costs are not
//! estimated here.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::{Value, json};

use crate::api::field::{Error, Errors, Path};
use crate::server::validation::cel::{self, Environment, Object, Type};
use crate::server::validation::text;

/// Every rule of a structural schema.
pub fn root(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps) {
    walk(errors, path, schema, true, None);
}

/// `apart` is where values of before can no longer be told from others.
fn walk(errors: &mut Errors, path: &Path, schema: &JSONSchemaProps, is_object: bool, apart: Option<&Path>) {
    if let Some(JSONSchemaPropsOrBool::Schema(below)) = &schema.additional_properties {
        walk(errors, &path.child("additionalProperties"), below, is_embedded(below), apart);
    }
    let is_whole = schema.x_kubernetes_map_type.as_deref() == Some("atomic");
    for (name, below) in schema.properties.iter().flatten() {
        let apart = apart.or(is_whole.then_some(path));
        walk(errors, &path.child("properties").key(name), below, is_embedded(below), apart);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        let is_map = schema.x_kubernetes_list_type.as_deref() == Some("map");
        let here = path.child("items");
        let apart = apart.or((!is_map).then_some(path));
        walk(errors, &here, items, is_embedded(items), apart);
    }
    let rules = schema.x_kubernetes_validations.as_deref().unwrap_or_default();
    if rules.is_empty() {
        return;
    }
    let of = type_of(schema, is_object).unwrap_or(Type::Unknown);
    for (at, given) in rules.iter().enumerate() {
        rule(errors, &path.child("x-kubernetes-validations").index(at), given, &of, apart);
    }
}

fn rule(errors: &mut Errors, path: &Path, rule: &ValidationRule, of: &Type, apart: Option<&Path>) {
    let before = if rule.optional_old_self == Some(true) { Type::Unknown } else { of.clone() };
    let alone = Environment { variables: vec![("self", of.clone())], patches: false };
    let mut both = alone.clone();
    both.variables.push(("oldSelf", before));
    let here = path.child("rule");
    let refused = |path: &Path, detail: String| Error::invalid(path, shown(rule), detail);
    match cel::compile(&rule.rule, &both) {
        Err(issues) => return errors.push(refused(&here, format!("compilation failed: {issues}"))),
        Ok(found) if found != Type::Bool && !found.is_unknown() => {
            return errors.push(refused(&here, "cel expression must evaluate to a bool".to_owned()));
        }
        Ok(_) => {}
    }
    let (message, at_message) = (text(&rule.message_expression), path.child("messageExpression"));
    if !message.is_empty() {
        match cel::compile(message, &both) {
            Err(issues) => {
                errors.push(refused(&at_message, format!("messageExpression compilation failed: {issues}")));
            }
            Ok(found) if found != Type::String && !found.is_unknown() => {
                errors.push(refused(&at_message, "messageExpression must evaluate to a string".to_owned()));
            }
            Ok(_) => {}
        }
    }
    // What does not compile without the old value looks at it.
    match (cel::compile(&rule.rule, &alone).is_err(), apart, rule.optional_old_self) {
        (true, Some(apart), _) => {
            let detail = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {apart}");
            errors.push(Error::invalid(&here, rule.rule.as_str(), detail));
        }
        (false, _, Some(optional)) => {
            let detail = "may not be set if oldSelf is not used in rule";
            errors.push(Error::invalid(&path.child("optionalOldSelf"), optional, detail));
        }
        _ => {}
    }
}

/// A rule as errors show it.
fn shown(rule: &ValidationRule) -> Value {
    json!({
        "Rule": rule.rule,
        "Message": text(&rule.message),
        "MessageExpression": text(&rule.message_expression),
        "Reason": rule.reason,
        "FieldPath": text(&rule.field_path),
        "OptionalOldSelf": rule.optional_old_self,
    })
}

fn is_embedded(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_embedded_resource == Some(true)
}

/// What a rule sees of a value with this schema; nothing where the schema does not say.
fn type_of(schema: &JSONSchemaProps, is_object: bool) -> Option<Type> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return Some(Type::Dyn);
    }
    let kind = if is_object { "object" } else { text(&schema.type_) };
    match (kind, text(&schema.format)) {
        ("array", _) => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(Type::list(type_of(items, is_embedded(items))?)),
            _ => None,
        },
        ("object", _) => match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(of)) => Some(Type::map(type_of(of, is_embedded(of))?)),
            _ => Some(object(schema, is_object)),
        },
        ("string", "byte") => Some(Type::Bytes),
        ("string", "duration") => Some(Type::Duration),
        ("string", "date" | "date-time") => Some(Type::Timestamp),
        ("string", _) => Some(Type::String),
        ("boolean", _) => Some(Type::Bool),
        ("number", _) => Some(Type::Double),
        ("integer", _) => Some(Type::Int),
        _ => None,
    }
}

fn object(schema: &JSONSchemaProps, is_object: bool) -> Type {
    let mut fields = BTreeMap::new();
    for (name, property) in schema.properties.iter().flatten() {
        if let Some(of) = type_of(property, is_embedded(property)) {
            // Escaped, and as it is for those who quote it.
            fields.insert(escaped(name), of.clone());
            fields.insert(name.clone(), of);
        }
    }
    if is_object {
        let names = [("name", Type::String), ("generateName", Type::String)];
        fields.insert("metadata".to_owned(), Type::object("object", &names));
        fields.extend(["apiVersion", "kind"].map(|name| (name.to_owned(), Type::String)));
    }
    Type::Object(Arc::new(Object { name: "object".to_owned(), fields }))
}

/// A name of a property that CEL can read.
fn escaped(name: &str) -> String {
    if cel::RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    let name = name.replace("__", "__underscores__").replace('.', "__dot__");
    name.replace('-', "__dash__").replace('/', "__slash__")
}
