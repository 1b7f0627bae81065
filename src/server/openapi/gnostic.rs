//! The Swagger 2.0 document in protobuf, as gnostic's `OpenAPIv2.proto` lays it out: client-go and with it kubectl
//! and Helm take version 2 in no other form.
//!
//! A message is a table of its fields: the JSON name, the number, and how the value is written. What no table
//! names is not in our documents.

use serde_json::Value;

/// How a JSON value becomes the value of a field.
enum Form {
    Text,
    Flag,
    /// A list of texts.
    Texts,
    /// Any value, as YAML (of which JSON is a part).
    Any,
    Message(&'static Message),
    /// A value inside a message of which it is the only field.
    In(u32, &'static Form),
    /// A list.
    Each(&'static Form),
    /// An object as a message with a repeated field of names and values.
    Map(u32, &'static Form),
    /// A parameter, which is of a message that depends on where it is.
    Parameter,
}

struct Message {
    fields: &'static [(&'static str, u32, Form)],
    /// The number of the field for whatever begins with `x-`.
    extensions: u32,
}

use Form::{Any, Each, Flag, In, Map, Parameter, Text, Texts};

static SCHEMA_FORM: Form = Form::Message(&SCHEMA);

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, Form::Message(&INFO)),
        ("paths", 8, Map(2, &Form::Message(&PATH_ITEM))),
        ("definitions", 9, Map(1, &SCHEMA_FORM)),
        ("security", 12, Each(&Map(1, &Texts))),
        ("securityDefinitions", 13, Map(1, &In(2, &Form::Message(&API_KEY)))),
    ],
    extensions: 16,
};
static INFO: Message = Message { fields: &[("title", 1, Text), ("version", 2, Text)], extensions: 7 };
static API_KEY: Message = Message {
    fields: &[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)],
    extensions: 5,
};
static PATH_ITEM: Message = Message {
    fields: &[
        ("get", 2, Form::Message(&OPERATION)),
        ("put", 3, Form::Message(&OPERATION)),
        ("post", 4, Form::Message(&OPERATION)),
        ("delete", 5, Form::Message(&OPERATION)),
        ("options", 6, Form::Message(&OPERATION)),
        ("head", 7, Form::Message(&OPERATION)),
        ("patch", 8, Form::Message(&OPERATION)),
        ("parameters", 9, Each(&Parameter)),
    ],
    extensions: 10,
};
static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Each(&Parameter)),
        ("responses", 9, Map(1, &In(1, &Form::Message(&RESPONSE)))),
        ("schemes", 10, Texts),
    ],
    extensions: 13,
};
static RESPONSE: Message =
    Message { fields: &[("description", 1, Text), ("schema", 2, In(1, &SCHEMA_FORM))], extensions: 5 };
/// A parameter in the path or the query is one of those that are not the body.
static BODY_PARAMETER: Form = In(1, &In(1, &Form::Message(&BODY)));
static PATH_PARAMETER: Form = In(1, &In(2, &In(4, &Form::Message(&PATH))));
static QUERY_PARAMETER: Form = In(1, &In(2, &In(3, &Form::Message(&QUERY))));
static BODY: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, Form::Message(&SCHEMA)),
    ],
    extensions: 6,
};
static QUERY: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("uniqueItems", 20, Flag),
    ],
    extensions: 23,
};
static PATH: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("uniqueItems", 19, Flag),
    ],
    extensions: 22,
};
static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("required", 19, Texts),
        ("additionalProperties", 21, In(1, &SCHEMA_FORM)),
        ("type", 22, In(1, &Text)),
        ("items", 23, In(1, &SCHEMA_FORM)),
        ("properties", 25, Map(1, &SCHEMA_FORM)),
    ],
    extensions: 31,
};

/// The document's bytes.
pub fn encode(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

fn message(shape: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some((_, number, form)) = shape.fields.iter().find(|(name, ..)| name == key) {
            field(&mut out, *number, form, value);
        } else if key.starts_with("x-") {
            named(&mut out, shape.extensions, key, &Any, value);
        }
    }
    out
}

/// Appends a field; a list is one field for each item.
fn field(out: &mut Vec<u8>, number: u32, form: &Form, value: &Value) {
    match form {
        Text => bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Flag => {
            varint(out, u64::from(number) << 3);
            varint(out, u64::from(value.as_bool().unwrap_or_default()));
        }
        Texts => items(value).for_each(|item| field(out, number, &Text, item)),
        Each(form) => items(value).for_each(|item| field(out, number, form, item)),
        Any => {
            let mut inner = Vec::new();
            bytes(&mut inner, 2, format!("{value}\n").as_bytes());
            bytes(out, number, &inner);
        }
        Form::Message(shape) => bytes(out, number, &message(shape, value)),
        In(inside, form) => {
            let mut inner = Vec::new();
            field(&mut inner, *inside, form, value);
            bytes(out, number, &inner);
        }
        Map(inside, form) => {
            let mut inner = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                named(&mut inner, *inside, name, form, value);
            }
            bytes(out, number, &inner);
        }
        Parameter => {
            let form = match value["in"].as_str() {
                Some("body") => &BODY_PARAMETER,
                Some("path") => &PATH_PARAMETER,
                _ => &QUERY_PARAMETER,
            };
            field(out, number, form, value);
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A name and a value, as a message of two fields.
fn named(out: &mut Vec<u8>, number: u32, name: &str, form: &Form, value: &Value) {
    let mut inner = Vec::new();
    bytes(&mut inner, 1, name.as_bytes());
    match form {
        // Several texts are a message of their own here.
        Texts => {
            let mut list = Vec::new();
            field(&mut list, 1, &Texts, value);
            bytes(&mut inner, 2, &list);
        }
        form => field(&mut inner, 2, form, value),
    }
    bytes(out, number, &inner);
}

fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_laid_out_as_the_proto_says() {
        let schema = json!({
            "type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/definitions/B"}},
            "x-kubernetes-list-type": "set",
        });
        let mut expected = Vec::new();
        // properties = 25: one NamedSchema {name = 1, value = 2: {_ref = 1}}
        let reference = [&[0x0a, 15][..], b"#/definitions/B"].concat();
        let named = [&[0x0a, 1, b'a', 0x12, reference.len() as u8][..], &reference].concat();
        let properties = [&[0x0a, named.len() as u8][..], &named].concat();
        expected.extend([&[0xca, 0x01, properties.len() as u8][..], &properties].concat());
        // required = 19
        expected.extend([0x9a, 0x01, 1, b'a']);
        // type = 22: {value = 1}
        expected.extend([&[0xb2, 0x01, 8, 0x0a, 6][..], b"object"].concat());
        // vendor_extension = 31: {name = 1, value = 2: {yaml = 2}}
        let any = [&[0x12, 6][..], b"\"set\"\n"].concat();
        let extension = [&[0x0a, 22][..], b"x-kubernetes-list-type", &[0x12, any.len() as u8], &any].concat();
        expected.extend([&[0xfa, 0x01, extension.len() as u8][..], &extension].concat());
        assert_eq!(message(&SCHEMA, &schema), expected);
    }

    #[test]
    fn whatever_our_document_says_has_a_place() {
        // Walks the document beside the tables: a key without a place would be lost.
        fn check(shape: &Message, value: &Value, at: &str) {
            for (key, value) in value.as_object().unwrap() {
                if key.starts_with("x-") {
                    continue;
                }
                let found = shape.fields.iter().find(|(name, ..)| name == key);
                let (_, _, form) = found.unwrap_or_else(|| panic!("{at}.{key} has no place"));
                walk(form, value, &format!("{at}.{key}"));
            }
        }
        fn walk(form: &Form, value: &Value, at: &str) {
            match form {
                Form::Message(shape) => check(shape, value, at),
                In(_, form) => walk(form, value, at),
                Each(form) => items(value).for_each(|item| walk(form, item, at)),
                Map(_, form) => value.as_object().unwrap().iter().for_each(|(key, value)| walk(form, value, key)),
                Parameter => match value["in"].as_str().unwrap() {
                    "body" => check(&BODY, value, at),
                    "path" => check(&PATH, value, at),
                    _ => check(&QUERY, value, at),
                },
                Text => assert!(value.is_string(), "{at}"),
                Flag => assert!(value.is_boolean(), "{at}"),
                Texts => assert!(items(value).all(Value::is_string), "{at}"),
                Any => {}
            }
        }
        walk(&Form::Message(&DOCUMENT), &super::super::v2::document(), "");
    }
}
