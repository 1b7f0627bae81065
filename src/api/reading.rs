//! Reads typed objects from JSON as upstream's decoder does where serde's would not: quantities may be numbers and
//! are kept in their canonical form, so that what is stored does not depend on how a client wrote it.
//!
//! Everything else passes through to serde_json unchanged, errors and their places too. Called by `server::strategy`.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::quantity::Quantity;

/// # Errors
/// serde_json's own, and upstream's words for what is no quantity.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    let mut inner = serde_json::Deserializer::from_slice(json);
    let value = T::deserialize(Reading(&mut inner))?;
    inner.end()?;
    Ok(value)
}

/// Any of serde's parts, with everything below it read in the same way.
struct Reading<T>(T);

/// The name by which k8s-openapi's type is read.
const QUANTITY: &str = "Quantity";

macro_rules! pass_on {
    ($($method:ident($($name:ident: $kind:ty),*)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, Self::Error> {
            self.0.$method($($name,)* Reading(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Reading<D> {
    type Error = D::Error;

    pass_on! {
        deserialize_any(), deserialize_bool(), deserialize_i8(), deserialize_i16(), deserialize_i32(),
        deserialize_i64(), deserialize_i128(), deserialize_u8(), deserialize_u16(), deserialize_u32(),
        deserialize_u64(), deserialize_u128(), deserialize_f32(), deserialize_f64(), deserialize_char(),
        deserialize_str(), deserialize_string(), deserialize_bytes(), deserialize_byte_buf(), deserialize_option(),
        deserialize_unit(), deserialize_seq(), deserialize_map(), deserialize_identifier(),
        deserialize_ignored_any(), deserialize_unit_struct(name: &'static str), deserialize_tuple(len: usize),
        deserialize_tuple_struct(name: &'static str, len: usize),
        deserialize_struct(name: &'static str, fields: &'static [&'static str]),
        deserialize_enum(name: &'static str, variants: &'static [&'static str]),
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        if name != QUANTITY {
            return self.0.deserialize_newtype_struct(name, Reading(visitor));
        }
        let text = self.0.deserialize_any(Canonical)?;
        let text: StringDeserializer<D::Error> = text.into_deserializer();
        visitor.visit_newtype_struct(text)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! hand_over {
    ($($method:ident: $kind:ty),* $(,)?) => {$(
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Reading<V> {
    type Value = V::Value;

    hand_over! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32,
        visit_f64: f64, visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String,
        visit_bytes: &[u8], visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }
    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Reading(deserializer))
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Reading(deserializer))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Reading(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Reading(fields))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Reading(variant))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Reading<S> {
    type Value = S::Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Reading(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Reading<A> {
    type Error = A::Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Reading(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Reading<A> {
    type Error = A::Error;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(seed)
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Reading(seed))
    }
    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Reading<A> {
    type Error = A::Error;
    type Variant = Reading<A::Variant>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        self.0.variant_seed(seed).map(|(value, variant)| (value, Reading(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Reading<A> {
    type Error = A::Error;
    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Reading(seed))
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Reading(visitor))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Reading(visitor))
    }
}

/// The canonical text of a quantity, however it is given.
struct Canonical;

impl Visitor<'_> for Canonical {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quantity")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Quantity::parse(text.trim()).map(|quantity| quantity.to_string()).map_err(E::custom)
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }
    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok("0".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
    use serde_json::{Value, json};

    use super::*;

    fn read<T: DeserializeOwned + serde::Serialize>(value: &Value) -> Result<Value, String> {
        let read = from_slice::<T>(value.to_string().as_bytes()).map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(read).unwrap())
    }

    #[test]
    fn quantities_are_canonical() {
        let given = json!({"spec": {"hard": {"a": "1000m", "b": 2, "c": 0.5, "d": "1024Mi", "e": null, "f": "1e3"}}});
        let quota = read::<ResourceQuota>(&given).unwrap();
        let wanted = json!({"a": "1", "b": "2", "c": "500m", "d": "1Gi", "e": "0", "f": "1e3"});
        assert_eq!(quota["spec"]["hard"], wanted);
        let bad = read::<ResourceQuota>(&json!({"spec": {"hard": {"a": "many"}}})).unwrap_err();
        assert!(bad.starts_with("quantities must match the regular expression"), "{bad}");
    }

    #[test]
    fn everything_else_passes_through() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"limits": "1000m"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
                "env": [{"name": "limits", "value": "1000m"}],
                "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"tcpSocket": {"port": 80}}}]},
        });
        assert_eq!(read::<Pod>(&pod), Ok(pod));
        let wrong = json!({"spec": {"containers": [{"name": 1}]}}).to_string();
        let ours = from_slice::<Pod>(wrong.as_bytes()).unwrap_err().to_string();
        assert_eq!(ours, serde_json::from_str::<Pod>(&wrong).unwrap_err().to_string());
        assert!(from_slice::<Pod>(b"{} x").is_err());
    }
}
