//! serde_json's errors in the words of Go's JSON decoder, which clients and people know.
//!
//! serde_json says what it met, what it expected and where it stopped; the path of the field is
//! found again by scanning the text up to there.

use serde_json::error::Category;

use crate::api::go_json;
use crate::api::schema::{self, Type, View};
use crate::server::strategy::Meta;

/// What is wrong with text that is valid JSON but no object of the kind (or no JSON at all).
pub fn words(json: &[u8], error: &serde_json::Error, meta: &Meta) -> String {
    if error.classify() != Category::Data {
        return syntax(json, error);
    }
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    // Go's decoder passes on what a type's own decoder says.
    if message.starts_with("quantities must match") || message.starts_with("unable to parse") {
        return message.to_owned();
    }
    let path = path_at(json, go_json::offset(json, error));
    let Some((met, expected)) = mismatch(message) else {
        return format!("json: {message}");
    };
    if path.is_empty() {
        return format!("json: cannot unmarshal {met} into Go value of type {}.{}", meta.version, meta.kind);
    }
    let (owner, path) = locate(meta, &path);
    let field = path.join(".");
    format!("json: cannot unmarshal {met} into Go struct field {owner}.{field} of type {}", go_type(&expected))
}

/// The same of a value that was never text: a strategic merge patch makes objects of maps, and its words are others.
pub fn conversion(json: &[u8], error: &serde_json::Error, meta: &Meta) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let Some((met, expected)) = mismatch(message) else { return words(json, error, meta) };
    let kind = match met.as_str() {
        "array" => "slice",
        "object" => "map",
        "number" => "int64",
        number if number.starts_with("number ") => {
            if number.contains(['.', 'e']) {
                "float64"
            } else {
                "int64"
            }
        }
        other => other,
    };
    match (kind, expected.as_str()) {
        (_, "enum IntOrString" | "IntOrString" | "Quantity" | "Time") => words(json, error, meta),
        (_, "a map") => format!("cannot restore map from {kind}"),
        (_, "a sequence") => format!("cannot restore slice from {kind}"),
        ("int64", "a string") => "cannot convert int64 to string".to_owned(),
        ("float64", "i32" | "i64") => format!("cannot convert float64 to {}", go_type(&expected)),
        (_, "a string" | "a boolean" | "i32" | "i64" | "f64") => format!("unrecognized type: {}", go_type(&expected)),
        _ => format!("cannot restore struct from: {kind}"),
    }
}

/// `invalid type: string "x", expected i32` → (`string`, `i32`).
fn mismatch(message: &str) -> Option<(String, String)> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (met, expected) = rest.rsplit_once(", expected ")?;
    let met = match met.split(['`', '"', ' ']).next().unwrap_or_default() {
        "string" => "string".to_owned(),
        "boolean" => "bool".to_owned(),
        "sequence" => "array".to_owned(),
        "map" => "object".to_owned(),
        "integer" | "floating" => {
            let number = met.split('`').nth(1).unwrap_or_default();
            // Go shows a number only where it does not fit.
            if message.starts_with("invalid value") || met.starts_with("floating") {
                format!("number {number}")
            } else {
                "number".to_owned()
            }
        }
        other => other.to_owned(),
    };
    Some((met, expected.to_owned()))
}

/// The Go type of what a k8s-openapi type expects.
fn go_type(expected: &str) -> String {
    match expected {
        "a string" | "a borrowed string" => "string".to_owned(),
        "a boolean" => "bool".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "u8" | "u16" | "u32" | "u64" => expected.replace('u', "uint"),
        "f64" => "float64".to_owned(),
        "a map" => "map[string]string".to_owned(),
        "a sequence" => "[]string".to_owned(),
        "enum IntOrString" | "IntOrString" => "intstr.IntOrString".to_owned(),
        "Quantity" => "resource.Quantity".to_owned(),
        "Time" => "v1.Time".to_owned(),
        other => {
            let name = other.strip_prefix("struct ").unwrap_or(other);
            format!("v1.{name}")
        }
    }
}

/// The Go struct that holds the field at `path`, and the path without the keys of maps, which Go leaves out.
fn locate(meta: &Meta, path: &[String]) -> (String, Vec<String>) {
    let mut owner = meta.kind.to_owned();
    let mut shown = Vec::new();
    let mut kind = schema::for_kind(meta.group, meta.version, meta.kind);
    for name in path {
        let mut here = kind;
        while let Some(View::List(list)) = here.map(Type::view) {
            here = Some(&list.items);
        }
        match here.map(Type::view) {
            Some(View::Map { .. }) => {}
            Some(View::Struct { shape, .. }) => {
                if !shape.name.is_empty() {
                    owner = shape.name.to_string();
                }
                shown.push(name.clone());
            }
            _ => shown.push(name.clone()),
        }
        kind = here.and_then(|here| here.child(name));
    }
    (owner, shown)
}

/// A JSON syntax error as Go words it.
pub fn syntax(json: &[u8], error: &serde_json::Error) -> String {
    if error.classify() == Category::Data && !json.is_empty() {
        words_of_type(json, error)
    } else {
        go_json::syntax(json, error)
    }
}

/// A body whose `apiVersion` or `kind` has the wrong type, or that is no JSON object.
fn words_of_type(json: &[u8], error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    let met = mismatch(message).map_or_else(|| "value".to_owned(), |(met, _)| met);
    match path_at(json, go_json::offset(json, error)).last() {
        Some(field) => format!("json: cannot unmarshal {met} into Go struct field .{field} of type string"),
        None => no_type(&met),
    }
}

/// A body that is no object.
pub fn no_type(met: &str) -> String {
    format!(
        "json: cannot unmarshal {met} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )
}

/// The names of the fields around the byte at `end`, outermost first; array items have no part of
/// their own, as in Go's messages.
fn path_at(json: &[u8], end: usize) -> Vec<String> {
    let mut stack: Vec<Frame> = Vec::new();
    let mut at = 0;
    while at < end {
        match json[at] {
            b'{' => stack.push(Frame { object: true, key: None, value: false }),
            b'[' => stack.push(Frame { object: false, key: None, value: true }),
            // The value that ends here may be the one complained about.
            b'}' | b']' if at + 1 >= end => break,
            b'}' | b']' => drop(stack.pop()),
            b',' => {
                if let Some(top) = stack.last_mut().filter(|top| top.object) {
                    top.key = None;
                    top.value = false;
                }
            }
            b':' => {
                if let Some(top) = stack.last_mut() {
                    top.value = true;
                }
            }
            b'"' => {
                let close = string_end(json, at);
                if let Some(top) = stack.last_mut().filter(|top| top.object && !top.value) {
                    top.key = serde_json::from_slice(&json[at..close]).ok();
                }
                at = close;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    stack.into_iter().filter_map(|frame| frame.key).collect()
}

struct Frame {
    object: bool,
    key: Option<String>,
    /// Past the colon.
    value: bool,
}

/// The byte after the closing quote of the string that starts at `at`.
fn string_end(json: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < json.len() {
        match json[end] {
            b'\\' => end += 2,
            b'"' => return end + 1,
            _ => end += 1,
        }
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;

    fn said(json: &str) -> String {
        let error = serde_json::from_str::<Deployment>(json).unwrap_err();
        words(json.as_bytes(), &error, &Meta::namespaced::<Deployment>("deployments"))
    }

    #[test]
    fn as_go_says_it_of_maps() {
        let cases = [
            (r#"{"spec":{"selector":{},"replicas":"three"}}"#, "unrecognized type: int32"),
            (r#"{"spec":{"selector":{},"replicas":1.5}}"#, "cannot convert float64 to int32"),
            (r#"{"metadata":{"labels":{"a":1}}}"#, "cannot convert int64 to string"),
            (r#"{"metadata":{"labels":{"a":[]}}}"#, "unrecognized type: string"),
            (r#"{"metadata":{"labels":"a"}}"#, "cannot restore map from string"),
            (r#"{"metadata":{"finalizers":{}}}"#, "cannot restore slice from map"),
            (r#"{"spec":[]}"#, "cannot restore struct from: slice"),
        ];
        for (json, text) in cases {
            let error = serde_json::from_str::<Deployment>(json).unwrap_err();
            let meta = Meta::namespaced::<Deployment>("deployments");
            assert_eq!(conversion(json.as_bytes(), &error, &meta), text, "{json}");
        }
    }

    #[test]
    fn as_go_says_it() {
        let cases = [
            (
                r#"{"spec":{"selector":{},"replicas":"three"}}"#,
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                r#"{"metadata":{"labels":{"a":1}}}"#,
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                "{\n \"spec\": {\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\n\"image\":{}}]}}}}",
                "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.image of type string",
            ),
            (r#"{"spec": }"#, "invalid character '}' looking for beginning of value"),
            ("{\"spec\": \"\u{1}\"}", "invalid character '\\x01' in string literal"),
            ("{\"spec\": é}", "invalid character 'Ã' looking for beginning of value"),
            (r#"{"spec""#, "unexpected end of JSON input"),
        ];
        for (json, text) in cases {
            assert_eq!(said(json), text, "{json}");
        }
    }
}
