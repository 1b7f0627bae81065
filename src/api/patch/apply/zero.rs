//! The object from which a create starts: empty, but with the structs that Go always has.
//!
//! Upstream compares a created object with its zero value in Go, where a struct that is not a pointer is
//! there from the beginning. So nobody owns `spec` itself, only what is in it, while `labels` and
//! `rollingUpdate` belong to whoever creates them. The API's published schema does not tell the two
//! apart; this table does, for the built-in types.

use serde_json::{Map, Value};

use crate::api::schema::{Type, View};

/// Struct fields of structs that are values in Go's types, and lists that Go writes even when there are none. Every kind's
/// own `metadata`, `spec` and `status` are values too.
const VALUES: &[(&str, &[&str])] = &[
    ("CronJobSpec", &["jobTemplate"]),
    ("CustomResourceDefinitionSpec", &["names"]),
    ("CustomResourceDefinitionStatus", &["acceptedNames"]),
    ("DaemonSetSpec", &["template", "updateStrategy"]),
    ("DeploymentSpec", &["template", "strategy"]),
    ("HorizontalPodAutoscalerSpec", &["scaleTargetRef"]),
    ("IngressStatus", &["loadBalancer"]),
    ("JobSpec", &["template"]),
    ("JobTemplateSpec", &["metadata", "spec"]),
    ("NodeDaemonEndpoints", &["kubeletEndpoint"]),
    ("NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    ("PersistentVolumeClaimSpec", &["resources"]),
    ("PodSpec", &["containers"]),
    ("PodTemplateSpec", &["metadata", "spec"]),
    ("ReplicaSetSpec", &["template"]),
    ("ServiceStatus", &["loadBalancer"]),
    ("StatefulSetSpec", &["template", "updateStrategy"]),
];

/// Fields of kinds themselves that are values beside `metadata`, `spec` and `status`.
const OF_KINDS: &[(&str, &[&str])] = &[
    ("Binding", &["target"]),
    ("ClusterRoleBinding", &["roleRef"]),
    ("Event", &["involvedObject", "source", "regarding", "deprecatedSource"]),
    ("PodTemplate", &["template"]),
    ("RoleBinding", &["roleRef"]),
];

/// The zero value of a kind. Of a custom resource, which has no Go type, it is quite empty.
pub fn value(kind: &Type, built_in: bool) -> Value {
    let mut root = Map::new();
    let View::Struct { shape, .. } = kind.view() else { return Value::Object(root) };
    if !built_in {
        return Value::Object(root);
    }
    let own = lookup(OF_KINDS, &shape.name);
    for field in shape.fields.iter() {
        let name = field.name.as_ref();
        if (matches!(name, "metadata" | "spec" | "status") || own.contains(&name)) && is_struct(&field.kind) {
            root.insert(name.to_owned(), below(&field.kind));
        }
    }
    Value::Object(root)
}

fn lookup<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> &'a [&'a str] {
    table.iter().find(|(of, _)| *of == name).map_or(&[], |(_, fields)| fields)
}

fn is_struct(kind: &Type) -> bool {
    matches!(kind.view(), View::Struct { .. })
}

fn below(kind: &Type) -> Value {
    let mut out = Map::new();
    if matches!(kind.view(), View::List(_)) {
        return Value::Null;
    }
    if let View::Struct { shape, .. } = kind.view() {
        for name in lookup(VALUES, &shape.name) {
            if let Some(field) = shape.field(name) {
                out.insert((*name).to_owned(), below(&field.kind));
            }
        }
    }
    Value::Object(out)
}
