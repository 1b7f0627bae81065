//! The type of a custom resource, from its structural schema (`openAPIV3Schema` of a CRD version).
//!
//! Only what matters for merging is taken: the shape, `x-kubernetes-list-type`, `-list-map-keys`, `-map-type`,
//! `-preserve-unknown-fields`, `-int-or-string` and `-embedded-resource`, and the defaults that can be keys. Nothing is validated.

use serde_json::Value;

use super::{Field, List, ListKind, Map, PatchStrategy, Scalar, Struct, Type, for_kind};

/// The type of the custom resource `kind` with this schema; without a schema everything below the root is untyped.
pub fn custom(kind: &str, schema: Option<&Value>) -> Type {
    let mut root = match schema.map(of) {
        Some(Type::Struct(root)) => root,
        _ => Struct { others: Some(Box::new(Type::Untyped)), ..Struct::default() },
    };
    root.name = kind.to_owned().into();
    add_resource_fields(&mut root);
    Type::Struct(root)
}

/// `apiVersion`, `kind` and `metadata` are the API machinery's, whatever the schema says.
fn add_resource_fields(root: &mut Struct) {
    root.fields.retain(|field| !matches!(field.name.as_ref(), "apiVersion" | "kind" | "metadata"));
    let metadata = for_kind("", "v1", "ConfigMap").and_then(|kind| kind.child("metadata")).cloned();
    for (name, kind) in [
        ("apiVersion", Type::Scalar(Scalar::String)),
        ("kind", Type::Scalar(Scalar::String)),
        ("metadata", metadata.unwrap_or(Type::Untyped)),
    ] {
        root.fields.push(Field { name: name.into(), kind, patch: PatchStrategy::default(), default: None });
    }
    root.fields.sort_by(|a, b| a.name.cmp(&b.name));
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn of(schema: &Value) -> Type {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Type::Scalar(Scalar::Mixed);
    }
    match text(schema, "type") {
        "string" => Type::Scalar(Scalar::String),
        "integer" | "number" => Type::Scalar(Scalar::Number),
        "boolean" => Type::Scalar(Scalar::Boolean),
        "array" => Type::List(list(schema)),
        "object" => object(schema),
        _ => Type::Untyped,
    }
}

fn list(schema: &Value) -> List {
    let items = schema.get("items").map_or(Type::Untyped, of);
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let keys: Vec<_> = keys.into_iter().flatten().filter_map(Value::as_str).map(|key| key.to_owned().into()).collect();
    let kind = match text(schema, "x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" if !keys.is_empty() => ListKind::Map(keys),
        _ => ListKind::Atomic,
    };
    List { items: Box::new(items), kind }
}

fn object(schema: &Value) -> Type {
    let atomic = text(schema, "x-kubernetes-map-type") == "atomic";
    let open = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties").filter(|more| more.is_object());
    let named = |(name, schema): (&String, &Value)| Field {
        name: name.clone().into(),
        kind: of(schema),
        patch: PatchStrategy::default(),
        default: schema.get("default").cloned().map(Box::new),
    };
    match (properties, additional) {
        (None, Some(values)) => Type::Map(Map { values: Box::new(of(values)), atomic }),
        (None, None) if !atomic && !flag(schema, "x-kubernetes-embedded-resource") => Type::Untyped,
        (properties, more) => {
            let mut shape = Struct { atomic, ..Struct::default() };
            shape.fields = properties.into_iter().flatten().map(named).collect();
            shape.fields.sort_by(|a, b| a.name.cmp(&b.name));
            let open = open || flag(schema, "x-kubernetes-embedded-resource");
            shape.others = more.map(|more| Box::new(of(more))).or_else(|| open.then(|| Box::new(Type::Untyped)));
            if flag(schema, "x-kubernetes-embedded-resource") {
                add_resource_fields(&mut shape);
            }
            Type::Struct(shape)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema::View;

    #[test]
    fn a_crds_schema_becomes_a_type() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "port": {"x-kubernetes-int-or-string": true},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name", "kind"],
                    "items": {"type": "object", "properties": {
                        "name": {"type": "string"}, "kind": {"type": "string", "default": "x"},
                    }},
                },
                "ref": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"name": {"type": "string"}}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true},
            }},
        }});
        let kind = custom("Widget", Some(&schema));
        let at = |path: &[&str]| path.iter().try_fold(&kind, |kind, name| kind.child(name)).map(Type::view);
        assert!(matches!(at(&["spec", "size"]), Some(View::Scalar(Scalar::Number))));
        assert!(matches!(at(&["spec", "port"]), Some(View::Scalar(Scalar::Mixed))));
        assert!(matches!(at(&["spec", "tags"]), Some(View::List(List { kind: ListKind::Set, .. }))));
        let Some(View::List(List { kind: ListKind::Map(keys), items })) = at(&["spec", "parts"]) else { panic!() };
        assert_eq!(keys, &["name", "kind"]);
        let View::Struct { shape, .. } = items.view() else { panic!() };
        assert_eq!(shape.field("kind").unwrap().default.as_deref(), Some(&json!("x")));
        assert!(matches!(at(&["spec", "ref"]), Some(View::Struct { atomic: true, .. })));
        assert!(matches!(at(&["spec", "labels"]), Some(View::Map { atomic: false, .. })));
        assert!(matches!(at(&["spec", "anything", "x", "y"]), Some(View::Untyped)));
        assert!(matches!(at(&["spec", "open", "x"]), Some(View::Untyped)));
        assert!(matches!(at(&["spec", "template", "metadata", "ownerReferences"]), Some(View::List(_))));
        assert!(matches!(at(&["metadata", "labels"]), Some(View::Map { .. })));
        assert!(at(&["spec", "missing"]).is_none());
        assert!(custom("Widget", None).child("spec").is_some());
    }
}
