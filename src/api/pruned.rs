//! Objects as Go's encoder writes them: a field that holds an empty list or map is left out, so that nobody reads
//! one. Structs stay, which say something by being there; so do elements, values of maps, what has no schema, and the
//! few fields that Go always writes.

use std::cell::Cell;
use std::fmt::{self, Display};

use serde::de::DeserializeOwned;
use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Without `omitempty` upstream.
const ALWAYS: [(&str, &str); 4] =
    [("ClusterRole", "rules"), ("Role", "rules"), ("EndpointSlice", "endpoints"), ("EndpointSlice", "ports")];

/// Whether a text holds anything empty: most do not, and that is seen at a glance.
pub fn may_prune(json: &[u8]) -> bool {
    memchr::memchr2_iter(b'[', b'{', json).any(|at| {
        let inner = json[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        matches!((json[at], inner), (b'[', Some(b']')) | (b'{', Some(b'}')))
    })
}

/// Takes the empty lists and maps out of `object`.
pub fn prune<K: Serialize + DeserializeOwned>(object: &mut K) -> Result<(), serde_json::Error> {
    let found = Cell::new(false);
    let mut text = Vec::with_capacity(1024);
    object.serialize(Pruning { inner: &mut serde_json::Serializer::new(&mut text), found: &found, of: "" })?;
    if found.get() {
        *object = serde_json::from_slice(&text)?;
    }
    Ok(())
}

/// Writes everything but the empty fields, and tells whether there were any. Serves as the compounds of itself.
struct Pruning<'a, S> {
    inner: S,
    found: &'a Cell<bool>,
    /// The name of the struct that is being written.
    of: &'static str,
}

/// What is below a compound goes the same way.
struct Below<'a, T: ?Sized> {
    value: &'a T,
    found: &'a Cell<bool>,
}

impl<T: Serialize + ?Sized> Serialize for Below<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Pruning { inner, found: self.found, of: "" })
    }
}

impl<'a, S> Pruning<'a, S> {
    fn below<'v, T: ?Sized>(&self, value: &'v T) -> Below<'v, T>
    where
        'a: 'v,
    {
        Below { value, found: self.found }
    }
    /// Whether a field is left out.
    fn drops<T: Serialize + ?Sized>(&self, key: &str, field: &T) -> bool {
        let empty = matches!(field.serialize(Probe), Err(Probed { empty: true })) && !ALWAYS.contains(&(self.of, key));
        self.found.set(self.found.get() || empty);
        empty
    }
}

macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name(self, $($arg: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$name($($arg),*)
        })*
    };
}

macro_rules! open {
    ($($compound:ident: $name:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $name(self, $($arg: $type),*) -> Result<Self::$compound, S::Error> {
            Ok(Pruning { inner: self.inner.$name($($arg),*)?, found: self.found, of: "" })
        })*
    };
}

impl<'a, S: Serializer> Serializer for Pruning<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Pruning<'a, S::SerializeSeq>;
    type SerializeTuple = Pruning<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Pruning<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Pruning<'a, S::SerializeTupleVariant>;
    type SerializeMap = Pruning<'a, S::SerializeMap>;
    type SerializeStruct = Pruning<'a, S::SerializeStruct>;
    type SerializeStructVariant = Pruning<'a, S::SerializeStructVariant>;

    pass! {
        serialize_bool(v: bool);
        serialize_i8(v: i8);
        serialize_i16(v: i16);
        serialize_i32(v: i32);
        serialize_i64(v: i64);
        serialize_u8(v: u8);
        serialize_u16(v: u16);
        serialize_u32(v: u32);
        serialize_u64(v: u64);
        serialize_f32(v: f32);
        serialize_f64(v: f64);
        serialize_char(v: char);
        serialize_str(v: &str);
        serialize_bytes(v: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, at: u32, variant: &'static str);
    }
    open! {
        SerializeSeq: serialize_seq(len: Option<usize>);
        SerializeTuple: serialize_tuple(len: usize);
        SerializeTupleStruct: serialize_tuple_struct(name: &'static str, len: usize);
        SerializeTupleVariant: serialize_tuple_variant(name: &'static str, at: u32, variant: &'static str, len: usize);
        SerializeMap: serialize_map(len: Option<usize>);
        SerializeStructVariant: serialize_struct_variant(name: &'static str, at: u32, variant: &'static str, len: usize);
    }
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        Ok(Pruning { inner: self.inner.serialize_struct(name, len)?, found: self.found, of: name })
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.below(value);
        self.inner.serialize_some(&value)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.below(value);
        self.inner.serialize_newtype_struct(name, &value)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        at: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = self.below(value);
        self.inner.serialize_newtype_variant(name, at, variant, &value)
    }
}

macro_rules! elements {
    ($($compound:ident: $name:ident;)*) => {
        $(impl<S: $compound> $compound for Pruning<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;
            fn $name<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.below(value);
                self.inner.$name(&value)
            }
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

macro_rules! fields {
    ($($compound:ident)*) => {
        $(impl<S: $compound> $compound for Pruning<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), S::Error> {
                if self.drops(key, value) {
                    return self.inner.skip_field(key);
                }
                let value = self.below(value);
                self.inner.serialize_field(key, &value)
            }
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl<S: SerializeMap> SerializeMap for Pruning<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
        self.inner.serialize_key(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.below(value);
        self.inner.serialize_value(&value)
    }
    fn end(self) -> Result<S::Ok, S::Error> {
        self.inner.end()
    }
}

/// Looks at the outermost of a value only, and answers with its error.
struct Probe;

#[derive(Debug)]
struct Probed {
    empty: bool,
}

impl Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "empty: {}", self.empty)
    }
}

impl std::error::Error for Probed {}

impl serde::ser::Error for Probed {
    fn custom<T: Display>(_: T) -> Self {
        Self { empty: false }
    }
}

macro_rules! other {
    ($($name:ident($($type:ty),*) -> $ok:ty;)*) => {
        $(fn $name(self, $(_: $type),*) -> Result<$ok, Probed> {
            Err(Probed::custom(""))
        })*
    };
}

type No = Impossible<(), Probed>;

impl Serializer for Probe {
    type Ok = ();
    type Error = Probed;
    type SerializeSeq = No;
    type SerializeTuple = No;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    other! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_tuple(usize) -> No;
        serialize_tuple_struct(&'static str, usize) -> No;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No;
        serialize_struct(&'static str, usize) -> No;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> No;
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<No, Probed> {
        Err(Probed { empty: len == Some(0) })
    }
    fn serialize_map(self, len: Option<usize>) -> Result<No, Probed> {
        Err(Probed { empty: len == Some(0) })
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Probed> {
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Probed> {
        Err(Probed::custom(""))
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Probed> {
        Err(Probed::custom(""))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ControllerRevision;
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use k8s_openapi::api::rbac::v1::Role;
    use serde_json::{Value, json};

    use super::*;

    fn pruned<K: Serialize + DeserializeOwned>(given: Value) -> Value {
        let mut object: K = serde_json::from_value(given).unwrap();
        prune(&mut object).unwrap();
        let mut left = serde_json::to_value(&object).unwrap();
        left.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "apiVersion" | "kind"));
        left
    }

    #[test]
    fn empty_lists_and_maps_go_and_structs_stay() {
        let pod = json!({
            "metadata": {"labels": {}, "finalizers": [], "annotations": {"a": ""}},
            "spec": {
                "nodeSelector": {}, "tolerations": [], "securityContext": {},
                "containers": [{"name": "c", "args": [], "env": [], "resources": {"limits": {}}}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        });
        let left = json!({
            "metadata": {"annotations": {"a": ""}},
            "spec": {
                "securityContext": {},
                "containers": [{"name": "c", "resources": {}}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        });
        assert_eq!(pruned::<Pod>(pod), left);
        let policy =
            json!({"metadata": {}, "spec": {"podSelector": {"matchLabels": {}}, "ingress": [{}], "egress": []}});
        assert_eq!(
            pruned::<NetworkPolicy>(policy),
            json!({"metadata": {}, "spec": {"podSelector": {}, "ingress": [{}]}})
        );
        let free = json!({"metadata": {}, "revision": 1, "data": {"a": {}, "b": [], "c": [{}]}});
        assert_eq!(pruned::<ControllerRevision>(free.clone()), free);
        let role = json!({"metadata": {}, "rules": []});
        assert_eq!(pruned::<Role>(role.clone()), role);
    }

    #[test]
    fn what_is_empty_is_seen_in_the_text() {
        for text in ["{}", r#"{"a":[]}"#, "{\"a\": {\n\t} }", r#"{"a":[1,[ ]]}"#] {
            assert!(may_prune(text.as_bytes()), "{text}");
        }
        for text in ["", "{", r#"{"a":[1]}"#, r#"{"a":{"b":"]"}}"#] {
            assert!(!may_prune(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_has_none_is_left_as_it_is() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        assert_eq!(pruned::<Pod>(pod.clone()), pod);
    }
}
