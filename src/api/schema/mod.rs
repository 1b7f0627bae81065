//! How the fields of a type merge: which lists are sets or maps with keys, which maps are one value, what
//! strategic merge patches do. Patches, server-side apply and nothing else walk objects by these.
//!
//! Built-in types come from [`table`], read on first use, one type at a time. A custom resource's
//! [`Type`] is made from its structural schema by [`custom`]; nobody who walks a type knows which of the two it is.

use std::borrow::Cow;

use serde_json::Value;

mod structural;
mod table;

pub use structural::custom;

/// A name: borrowed from the table, or owned by a custom resource's schema.
pub type Name = Cow<'static, str>;

/// The shape of a value. Ask [`Type::view`] for what it is; references are followed there.
#[derive(Clone, Debug)]
pub enum Type {
    Scalar(Scalar),
    /// Anything: maps merge key by key, lists and scalars are one value.
    Untyped,
    List(List),
    Map(Map),
    Struct(Struct),
    /// A built-in type, by its place in the table. `atomic` where the field says so, whatever the type says.
    Ref {
        id: u16,
        atomic: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    String,
    Number,
    Boolean,
    /// A string or a number: quantities, `IntOrString`.
    Mixed,
}

#[derive(Clone, Debug)]
pub struct List {
    pub items: Box<Type>,
    pub kind: ListKind,
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// One value, replaced as a whole.
    Atomic,
    /// Scalars, each once.
    Set,
    /// Objects, told apart by these fields.
    Map(Vec<Name>),
}

/// A map from any string to values of one type.
#[derive(Clone, Debug)]
pub struct Map {
    pub values: Box<Type>,
    pub atomic: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Struct {
    /// As Go calls it; only errors use it.
    pub name: Name,
    pub atomic: bool,
    /// Sorted by name.
    pub fields: Vec<Field>,
    /// The type of fields not listed, where such are allowed (`x-kubernetes-preserve-unknown-fields`).
    pub others: Option<Box<Type>>,
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: Name,
    pub kind: Type,
    pub patch: PatchStrategy,
    /// Known only where the field is a key of a list.
    pub default: Option<Box<Value>>,
}

/// What a strategic merge patch does to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge item by item, by `merge_key` or, without one, as sets of scalars.
    pub merge: bool,
    /// Maps are replaced as a whole.
    pub replace: bool,
    /// The patch may name the fields to keep; clients use this, the server obeys `$retainKeys` anywhere.
    pub retain_keys: bool,
    pub merge_key: Option<Name>,
}

/// A type with references followed.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    Scalar(Scalar),
    Untyped,
    List(&'a List),
    Map { values: &'a Type, atomic: bool },
    Struct { shape: &'a Struct, atomic: bool },
}

static UNTYPED: Type = Type::Untyped;

/// The type of a built-in kind.
pub fn for_kind(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    table::kind(group, version, kind)
}

impl Type {
    /// What this type is.
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Scalar(scalar) => View::Scalar(*scalar),
            Self::Untyped => View::Untyped,
            Self::List(list) => View::List(list),
            Self::Map(map) => View::Map { values: &map.values, atomic: map.atomic },
            Self::Struct(shape) => View::Struct { shape, atomic: shape.atomic },
            Self::Ref { id, atomic } => match table::get(*id).view() {
                View::Struct { shape, atomic: own } => View::Struct { shape, atomic: own || *atomic },
                other => other,
            },
        }
    }

    /// The type of the field or key `name`; `None` where there is no such field.
    pub fn child(&self, name: &str) -> Option<&Type> {
        match self.view() {
            View::Map { values, .. } => Some(values),
            View::Struct { shape, .. } => match shape.field(name) {
                Some(field) => Some(&field.kind),
                None => shape.others.as_deref(),
            },
            View::Untyped => Some(&UNTYPED),
            View::Scalar(_) | View::List(_) => None,
        }
    }

    /// The type of a list's items.
    pub fn items(&self) -> &Type {
        match self.view() {
            View::List(list) => &list.items,
            _ => &UNTYPED,
        }
    }
}

impl Struct {
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| field.name.as_ref().cmp(name)).ok()?;
        self.fields.get(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk<'a>(mut kind: &'a Type, path: &[&str]) -> &'a Type {
        for name in path {
            kind = match *name {
                "[]" => kind.items(),
                name => kind.child(name).unwrap_or_else(|| panic!("no {name}")),
            };
        }
        kind
    }

    #[test]
    fn a_deployment_can_be_walked_to_its_ports() {
        let deployment = for_kind("apps", "v1", "Deployment").unwrap();
        let container = walk(deployment, &["spec", "template", "spec", "containers", "[]"]);
        let View::Struct { shape, atomic: false } = container.view() else { panic!("a container is a struct") };
        assert_eq!(shape.name, "Container");
        let ports = shape.field("ports").unwrap();
        assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
        let View::List(list) = ports.kind.view() else { panic!("ports are a list") };
        assert_eq!(list.kind, ListKind::Map(vec!["containerPort".into(), "protocol".into()]));
        let View::Struct { shape, .. } = list.items.view() else { panic!("a port is a struct") };
        assert_eq!(shape.field("protocol").unwrap().default.as_deref(), Some(&Value::from("TCP")));
        assert!(matches!(walk(deployment, &["spec", "selector"]).view(), View::Struct { atomic: true, .. }));
        let selector = walk(deployment, &["spec", "template", "spec", "nodeSelector"]);
        assert!(matches!(selector.view(), View::Map { atomic: true, .. }));
        let volumes = walk(deployment, &["spec", "template", "spec"]);
        let View::Struct { shape, .. } = volumes.view() else { panic!("a pod spec is a struct") };
        let strategy = &shape.field("volumes").unwrap().patch;
        assert!(strategy.merge && strategy.retain_keys && !strategy.replace);
    }

    #[test]
    fn types_may_contain_themselves() {
        let crd = for_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        let schema = walk(crd, &["spec", "versions", "[]", "schema", "openAPIV3Schema"]);
        walk(schema, &["properties", "a", "properties", "b", "not", "allOf", "[]"]);
    }

    #[test]
    fn unknown_kinds_and_fields_are_none() {
        assert!(for_kind("", "v1", "Nothing").is_none());
        assert!(for_kind("", "v1", "Pod").unwrap().child("nothing").is_none());
    }
}
