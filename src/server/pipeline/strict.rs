//! Finds fields of a body that its kind does not have, and fields given twice.
//!
//! Compares the keys of the input with those of the object re-encoded: what did not survive
//! decoding is unknown. One walk over the text, no copy of it. Of fields whose value is null or empty
//! that proves nothing, for they may not survive either way; there the type's own list of fields decides.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::api::object::Object;
use crate::api::schema::{Type, View};

/// How many problems are told at most, as sigs.k8s.io/json has it.
const MOST: usize = 100;

/// Upstream's texts, in the order found: `unknown field "spec.foo"`, `duplicate field "spec.foo"`.
pub fn problems(json: &[u8], object: &dyn Object, shape: Option<&Type>) -> Vec<String> {
    walk(json, &object.to_value(), shape)
}

/// Fields given twice in a text of which nothing else is known: a patch.
pub fn duplicates(json: &[u8]) -> Vec<String> {
    walk(json, &Value::Null, None)
}

/// What is wrong with the operations of a JSON patch themselves.
pub fn of_json_patch(json: &[u8]) -> Vec<String> {
    let operations = serde_json::from_slice::<Vec<IgnoredAny>>(json).map_or(0, |operations| operations.len());
    let known = serde_json::json!({"op": 1, "path": 1, "from": 1, "value": null});
    let found = walk(json, &Value::Array(vec![known; operations]), None);
    found.into_iter().map(|problem| format!("json patch {problem}")).collect()
}

fn walk(json: &[u8], reference: &Value, shape: Option<&Type>) -> Vec<String> {
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let walk = Walk { reference: Some(reference), shape, path: String::new(), found: &mut found };
    // The text was decoded before, so it is valid JSON; were it not, what was found until then counts.
    let _ = walk.deserialize(&mut deserializer);
    found.0
}

/// Each text once.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn add(&mut self, what: &str, path: &str) {
        let text = format!("{what} field {path:?}");
        if self.0.len() < MOST && !self.0.contains(&text) {
            self.0.push(text);
        }
    }
}

struct Walk<'a> {
    /// What became of this part; `None` where anything is allowed below.
    reference: Option<&'a Value>,
    /// Its type, where that is known.
    shape: Option<&'a Type>,
    path: String,
    found: &'a mut Found,
}

/// Whether a value is there at all: null and empty ones may be left out by an encoder.
struct Presence(bool);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Presence;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Presence, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Presence, E> {
        Ok(Presence(true))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Presence, E> {
        Ok(Presence(true))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Presence, E> {
        Ok(Presence(true))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Presence, E> {
        Ok(Presence(true))
    }
    fn visit_str<E>(self, _: &str) -> Result<Presence, E> {
        Ok(Presence(true))
    }
    fn visit_unit<E>(self) -> Result<Presence, E> {
        Ok(Presence(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Presence, A::Error> {
        let reference = self.reference.and_then(Value::as_array);
        let mut at = 0;
        loop {
            // An item that does not survive at its place leaves nothing to compare with.
            let seed = Walk {
                reference: reference.and_then(|items| items.get(at)),
                shape: self.shape.map(Type::items),
                path: format!("{}[{at}]", self.path),
                found: self.found,
            };
            if items.next_element_seed(seed)?.is_none() {
                return Ok(Presence(at > 0));
            }
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Presence, A::Error> {
        let reference = self.reference.and_then(Value::as_object);
        let mut seen: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let child = reference.and_then(|fields| fields.get(&key));
            let unknown = reference.is_some() && child.is_none();
            if !seen.insert(key.clone()) {
                // What is unknown as well as repeated is called unknown only.
                if !unknown || may_have(self.shape, &key) {
                    self.found.add("duplicate", &path);
                }
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if unknown {
                let mut ignored = Found::default();
                let seed = Walk { reference: None, shape: None, path: String::new(), found: &mut ignored };
                if map.next_value_seed(seed)?.0 || !may_have(self.shape, &key) {
                    self.found.add("unknown", &path);
                }
            } else {
                let shape = self.shape.and_then(|shape| shape.child(&key));
                map.next_value_seed(Walk { reference: child, shape, path, found: self.found })?;
            }
        }
        Ok(Presence(!seen.is_empty()))
    }
}

/// Whether a type may have the field; an unknown type may have any.
fn may_have(shape: Option<&Type>, field: &str) -> bool {
    shape.is_none_or(|shape| matches!(shape.view(), View::Scalar(_) | View::List(_)) || shape.child(field).is_some())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;

    fn found(json: &str) -> Vec<String> {
        let object: Deployment = serde_json::from_str(json).unwrap();
        problems(json.as_bytes(), &object, crate::api::schema::for_kind("apps", "v1", "Deployment"))
    }

    #[test]
    fn unknown_and_duplicate_fields() {
        let clean = r#"{"metadata":{"name":"a","creationTimestamp":null,"labels":{"x":"y"}},
            "spec":{"replicas":1,"selector":{},"template":{"spec":{"containers":[{"name":"c","resources":{}}]}}}}"#;
        assert_eq!(found(clean), Vec::<String>::new());
        let dirty = r#"{"metadata":{"name":"a"},"foo":{"a":{}},"spec":{"replica":1,"selector":{},"template":
            {"spec":{"containers":[{"name":"c"},{"name":"d","imag":"x"}]}}}}"#;
        let texts = [
            "unknown field \"foo\"",
            "unknown field \"spec.replica\"",
            "unknown field \"spec.template.spec.containers[1].imag\"",
        ];
        assert_eq!(found(dirty), texts);
        let empty = r#"{"metadata":{"name":"a","nam":null},"spec":{"selector":{},"template":{},"strateg":{}}}"#;
        assert_eq!(found(empty), ["unknown field \"metadata.nam\"", "unknown field \"spec.strateg\""]);
        let double = r#"{"metadata":{"labels":{"x":"y","x":"z"}},"spec":{"selector":{},"template":{}}}"#;
        assert_eq!(found(double), ["duplicate field \"metadata.labels.x\""]);
        let both =
            r#"{"spec":{"unknown":1,"unknown":2,"paused":true,"paused":false,"selector":{},"template":{}},"x":1}"#;
        let texts = ["unknown field \"spec.unknown\"", "duplicate field \"spec.paused\"", "unknown field \"x\""];
        assert_eq!(found(both), texts);
    }

    #[test]
    fn patches() {
        let merge = br#"{"spec":{"paused":true,"paused":false,"unknownDupe":1,"unknownDupe":2}}"#;
        assert_eq!(duplicates(merge), ["duplicate field \"spec.paused\"", "duplicate field \"spec.unknownDupe\""]);
        let json = br#"[{"op":"add","path":"/a","value":{"x":1},"foo":"bar"},{"op":"add","path":"/b","path":"/c"}]"#;
        let texts = ["json patch unknown field \"[0].foo\"", "json patch duplicate field \"[1].path\""];
        assert_eq!(of_json_patch(json), texts);
        assert_eq!(duplicates(b"[[[{\"a\":1,\"a\":2}"), ["duplicate field \"[0][0][0].a\""]);
    }

    #[test]
    fn few_are_told_of_many() {
        let many: String = (0..500).map(|at| format!("\"x{at}\":1,")).collect();
        assert_eq!(found(&format!("{{{many}\"spec\":{{\"selector\":{{}},\"template\":{{}}}}}}")).len(), MOST);
    }
}
