//! Objects as Go's encoder writes them: a field that holds an empty list or map is left out, so that nobody reads
//! one. Structs stay, which say something by being there; so do elements, values of maps and what has no schema. What
//! Go [always] writes is written where nothing is set.

mod always;

use std::cell::Cell;
use std::fmt::{self, Display};

use always::{Fields, Nothing};
use serde::de::DeserializeOwned;
use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Value;

/// As JSON, with `apiVersion` and `kind` where the type has them.
pub fn to_vec<T: Serialize>(object: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::with_capacity(1024);
    object.serialize(Writing::new(&mut serde_json::Serializer::new(&mut text), &Cell::new(false)))?;
    Ok(text)
}

/// The same, not as text.
pub fn to_value<T: Serialize>(object: &T) -> Result<Value, serde_json::Error> {
    object.serialize(Writing::new(serde_json::value::Serializer, &Cell::new(false)))
}

/// Takes the empty lists and maps out of `object`, and puts in what is always written: as if it had been read back.
pub fn normalize<K: Serialize + DeserializeOwned>(object: &mut K) -> Result<(), serde_json::Error> {
    let found = Cell::new(false);
    let mut text = Vec::with_capacity(1024);
    object.serialize(Writing::new(&mut serde_json::Serializer::new(&mut text), &found))?;
    if found.get() {
        *object = serde_json::from_slice(&text)?;
    }
    Ok(())
}

/// An empty list here says that the record is to be forgotten.
const CLEARED: (&str, &str) = ("ObjectMeta", "managedFields");

/// Writes everything as it is read back, and tells whether that is another object. Serves as the compounds of itself.
struct Writing<'a, S> {
    inner: S,
    found: &'a Cell<bool>,
    /// The name of the struct that is being written.
    of: &'static str,
    /// Those of its fields that always are written, and where there are such, those that were.
    always: Fields,
    seen: Vec<&'static str>,
}

/// What is below a compound goes the same way.
struct Below<'a, T: ?Sized> {
    value: &'a T,
    found: &'a Cell<bool>,
}

impl<T: Serialize + ?Sized> Serialize for Below<'_, T> {
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Writing::new(inner, self.found))
    }
}

impl<'a, S> Writing<'a, S> {
    fn new(inner: S, found: &'a Cell<bool>) -> Self {
        Self { inner, found, of: "", always: &[], seen: Vec::new() }
    }
    fn below<'v, T: ?Sized>(&self, value: &'v T) -> Below<'v, T>
    where
        'a: 'v,
    {
        Below { value, found: self.found }
    }
    /// A field is written: remembered, where that matters.
    fn note(&mut self, key: &'static str) {
        if self.always.is_empty() {
            return;
        }
        if (self.of, key) == always::CORE_ONLY {
            self.always = always::CORE_EVENT;
        }
        self.seen.push(key);
    }
    /// Whether a field is left out.
    fn drops<T: Serialize + ?Sized>(&self, key: &str, field: &T) -> bool {
        let kept = || (self.of, key) == CLEARED || self.always.iter().any(|(always, _)| *always == key);
        let empty = matches!(field.serialize(Probe), Err(Probed { empty: true })) && !kept();
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
            Ok(Writing::new(self.inner.$name($($arg),*)?, self.found))
        })*
    };
}

impl<'a, S: Serializer> Serializer for Writing<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Writing<'a, S::SerializeSeq>;
    type SerializeTuple = Writing<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Writing<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Writing<'a, S::SerializeTupleVariant>;
    type SerializeMap = Writing<'a, S::SerializeMap>;
    type SerializeStruct = Writing<'a, S::SerializeStruct>;
    type SerializeStructVariant = Writing<'a, S::SerializeStructVariant>;

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
        let always = always::fields(name);
        let inner = self.inner.serialize_struct(name, len + always.len())?;
        Ok(Writing { of: name, always, ..Writing::new(inner, self.found) })
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
        $(impl<S: $compound> $compound for Writing<'_, S> {
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
        $(impl<S: $compound> $compound for Writing<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), S::Error> {
                if self.drops(key, value) {
                    return self.inner.skip_field(key);
                }
                self.note(key);
                let value = self.below(value);
                self.inner.serialize_field(key, &value)
            }
            fn end(mut self) -> Result<S::Ok, S::Error> {
                for (key, nothing) in self.always {
                    if !self.seen.contains(key) {
                        self.found.set(self.found.get() || !matches!(nothing, Nothing::Null));
                        self.inner.serialize_field(key, nothing)?;
                    }
                }
                self.inner.end()
            }
        })*
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl<S: SerializeMap> SerializeMap for Writing<'_, S> {
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
    use k8s_openapi::api::scheduling::v1::PriorityClass;
    use k8s_openapi::api::{core, events};
    use serde_json::{Value, json};

    use super::*;

    fn pruned<K: Serialize + DeserializeOwned>(given: Value) -> Value {
        let mut object: K = serde_json::from_value(given).unwrap();
        normalize(&mut object).unwrap();
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
    fn what_go_always_writes_is_there() {
        let pod = json!({
            "metadata": {"managedFields": []},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}],
                "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"running": {}}}],
            },
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let written = to_value(&pod).unwrap();
        assert_eq!(written, serde_json::from_slice::<Value>(&to_vec(&pod).unwrap()).unwrap());
        assert_eq!(written["metadata"], json!({"managedFields": []}));
        let condition = &written["status"]["conditions"][0];
        assert_eq!((condition.get("lastProbeTime"), condition["status"].as_str()), (Some(&Value::Null), Some("True")));
        assert_eq!(condition["lastTransitionTime"], "2026-01-02T03:04:05Z");
        let container = &written["status"]["containerStatuses"][0];
        assert_eq!(
            (&container["lastState"], &container["state"]),
            (&json!({}), &json!({"running": {"startedAt": null}}))
        );

        let core: core::v1::Event =
            serde_json::from_value(json!({"metadata": {}, "involvedObject": {}, "source": {"component": "x"}}))
                .unwrap();
        let expected = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {}, "involvedObject": {}, "source": {"component": "x"},
            "eventTime": null, "firstTimestamp": null, "lastTimestamp": null, "reportingComponent": "", "reportingInstance": "",
        });
        assert_eq!(to_value(&core).unwrap(), expected);
        let event: events::v1::Event = serde_json::from_value(json!({"metadata": {}})).unwrap();
        let expected = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {}, "eventTime": null, "regarding": {},
            "deprecatedSource": {}, "deprecatedFirstTimestamp": null, "deprecatedLastTimestamp": null,
        });
        assert_eq!(to_value(&event).unwrap(), expected);

        let mut class: PriorityClass = serde_json::from_value(json!({"metadata": {}})).unwrap();
        normalize(&mut class).unwrap();
        assert_eq!(class.value, Some(0), "equal to what is read back");
    }

    #[test]
    fn what_has_none_is_left_as_it_is() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}});
        assert_eq!(pruned::<Pod>(pod.clone()), pod);
    }
}
