//! How the fields of a type merge, as the `x-kubernetes-*` extensions that clients read for patches.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::components::name_of;
use crate::api::schema::{Field, ListKind, PatchStrategy, Struct, Type, View};

type Union = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Unions with a discriminator: type, discriminator, then field and value by turns.
const UNIONS: &[Union] = &[
    ("io.k8s.api.core.v1.AppArmorProfile", "type", &[("localhostProfile", "LocalhostProfile")]),
    ("io.k8s.api.core.v1.SeccompProfile", "type", &[("localhostProfile", "LocalhostProfile")]),
    ("io.k8s.api.flowcontrol.v1.LimitResponse", "type", &[("queuing", "Queuing")]),
    (
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec",
        "type",
        &[("exempt", "Exempt"), ("limited", "Limited")],
    ),
    (
        "io.k8s.api.flowcontrol.v1.Subject",
        "kind",
        &[("group", "Group"), ("serviceAccount", "ServiceAccount"), ("user", "User")],
    ),
];

/// Marks the type `name` and all that it refers to, each once.
pub fn annotate(definitions: &mut Map<String, Value>, name: &str, shape: &Type) {
    let mut seen = HashSet::new();
    let mut todo = vec![(name.to_owned(), shape)];
    while let Some((name, shape)) = todo.pop() {
        let View::Struct { shape, .. } = shape.view() else { continue };
        let Some(definition) = definitions.get_mut(&name) else { continue };
        if !seen.insert(name.clone()) {
            continue;
        }
        if shape.atomic {
            definition["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some((_, discriminator, fields)) = UNIONS.iter().find(|(union, ..)| *union == name) {
            let fields: Map<String, Value> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
            definition["x-kubernetes-unions"] =
                json!([{"discriminator": discriminator, "fields-to-discriminateBy": fields}]);
        }
        properties(definition, shape, &mut todo);
    }
}

fn properties<'a>(definition: &mut Value, shape: &'a Struct, todo: &mut Vec<(String, &'a Type)>) {
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        let Some(field) = shape.field(name) else { continue };
        mark(property, field);
        follow(property, &field.kind, todo);
    }
}

/// Adds the types that a property, its items or its values refer to.
fn follow<'a>(property: &Value, kind: &'a Type, todo: &mut Vec<(String, &'a Type)>) {
    match kind.view() {
        View::List(list) => follow(&property["items"], &list.items, todo),
        View::Map { values, .. } => follow(&property["additionalProperties"], values, todo),
        View::Struct { .. } => todo.extend(name_of(property).map(|name| (name.to_owned(), kind))),
        View::Scalar(_) | View::Untyped => {}
    }
}

fn mark(property: &mut Value, field: &Field) {
    match &field.kind {
        Type::List(list) => match &list.kind {
            ListKind::Atomic => property["x-kubernetes-list-type"] = "atomic".into(),
            ListKind::Set => property["x-kubernetes-list-type"] = "set".into(),
            ListKind::Map(keys) => {
                property["x-kubernetes-list-type"] = "map".into();
                property["x-kubernetes-list-map-keys"] = keys.iter().map(AsRef::as_ref).collect::<Vec<&str>>().into();
            }
        },
        Type::Map(map) if map.atomic => property["x-kubernetes-map-type"] = "atomic".into(),
        Type::Ref { atomic: true, .. } => property["x-kubernetes-map-type"] = "atomic".into(),
        _ => {}
    }
    if let Some(default) = &field.default {
        property["default"] = (**default).clone();
    }
    let strategies = strategies(&field.patch);
    if !strategies.is_empty() {
        property["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    if let Some(key) = &field.patch.merge_key {
        property["x-kubernetes-patch-merge-key"] = key.as_ref().into();
    }
}

fn strategies(patch: &PatchStrategy) -> Vec<&'static str> {
    let named = [(patch.merge, "merge"), (patch.retain_keys, "retainKeys"), (patch.replace, "replace")];
    named.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect()
}
