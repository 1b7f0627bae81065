//! Bodies that kubectl sent, bodies encoded by hand, and any bytes at all.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Bodies of `kubectl create …` 1.32 in hexadecimal, each with the same object as kubectl prints it in JSON.
static CAPTURED: &str = include_str!("captured.txt");

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn captured() -> impl Iterator<Item = (Vec<u8>, Value)> {
    CAPTURED.lines().filter_map(|line| line.split_once(' ')).map(|(body, json)| (unhex(body), json.parse().unwrap()))
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A field of a number.
fn number(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

/// A field of bytes: a string or a message.
fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let meta = [bytes(1, api_version), bytes(2, kind)].concat();
    [MAGIC.to_vec(), bytes(1, meta), bytes(2, raw), bytes(3, ""), bytes(4, "")].concat()
}

fn decode(api_version: &str, kind: &str, raw: &[u8]) -> Value {
    let json = to_json(&envelope(api_version, kind, raw), "", "").unwrap_or_else(|error| panic!("{error}"));
    let mut value: Value = serde_json::from_slice(&json).unwrap();
    let map = value.as_object_mut().unwrap();
    assert_eq!((map.remove("apiVersion"), map.remove("kind")), (Some(api_version.into()), Some(kind.into())));
    value
}

fn error(body: &[u8]) -> Error {
    to_json(body, "v1", "Pod").unwrap_err()
}

fn why(raw: &[u8]) -> String {
    error(&envelope("v1", "Pod", raw)).to_string()
}

#[test]
fn what_kubectl_sends_is_what_it_prints() {
    let mut kinds = 0;
    for (body, mut expected) in captured() {
        without_nulls(&mut expected);
        let found: Value = serde_json::from_slice(&to_json(&body, "", "").unwrap()).unwrap();
        assert_eq!(found, expected);
        kinds += 1;
    }
    assert_eq!(kinds, 14);
}

#[test]
fn special_types_are_written_as_in_json() {
    let time = [number(1, 1_700_000_000), number(2, 999)].concat();
    let micro = [number(1, 1_700_000_000), number(2, 1_234_567)].concat();
    let meta = [bytes(1, "a"), bytes(8, &time), bytes(9, "")].concat();
    let lease = [bytes(1, &meta), bytes(2, [bytes(3, &micro), number(5, 0)].concat())].concat();
    assert_eq!(
        decode("coordination.k8s.io/v1", "Lease", &lease),
        json!({"metadata": {"name": "a", "creationTimestamp": "2023-11-14T22:13:20Z"},
               "spec": {"acquireTime": "2023-11-14T22:13:20.001234Z", "leaseTransitions": 0}})
    );
    let port = |target: Vec<u8>| bytes(1, bytes(4, target));
    let text = port([number(1, 1), bytes(3, "http")].concat());
    let spec = [text, port(number(2, -1)), port(Vec::new())].concat();
    assert_eq!(
        decode("v1", "Service", &bytes(2, spec)),
        json!({"spec": {"ports": [{"targetPort": "http"}, {"targetPort": -1}, {"targetPort": 0}]}})
    );
    let hard = [bytes(1, [bytes(1, "cpu"), bytes(2, bytes(1, "500m"))].concat()), bytes(1, bytes(1, "pods"))].concat();
    assert_eq!(decode("v1", "ResourceQuota", &bytes(2, hard)), json!({"spec": {"hard": {"cpu": "500m", "pods": "0"}}}));
    let data = bytes(2, [bytes(1, "k"), bytes(2, [0_u8, 255])].concat());
    assert_eq!(decode("v1", "Secret", &data), json!({"data": {"k": "AP8="}}));
    let raw = bytes(2, bytes(1, br#" {"a": [1, null]} "#));
    assert_eq!(decode("apps/v1", "ControllerRevision", &raw), json!({"data": {"a": [1, null]}}));
    let extra = bytes(5, [bytes(1, "scopes"), bytes(2, [bytes(1, "a"), bytes(1, "b")].concat())].concat());
    assert_eq!(
        decode("authorization.k8s.io/v1", "SubjectAccessReview", &bytes(2, extra)),
        json!({"spec": {"extra": {"scopes": ["a", "b"]}}})
    );
}

#[test]
fn schemas_keep_their_unusual_forms() {
    let text = bytes(5, "string");
    let props = |name: &str, schema: &[u8]| bytes(29, [bytes(1, name), bytes(2, schema)].concat());
    let schema = [
        bytes(3, "#/x"),
        bytes(8, bytes(1, "{\"a\":1}")),
        bytes(20, bytes(1, "1")),
        bytes(20, bytes(1, "null")),
        [varint(11 << 3 | 1), 1.5_f64.to_le_bytes().to_vec()].concat(),
        props("one", &bytes(24, bytes(1, &text))),
        props("many", &bytes(24, [bytes(2, &text), bytes(2, &text)].concat())),
        bytes(30, number(1, 1)),
        bytes(33, ""),
        bytes(32, [bytes(1, "d"), bytes(2, bytes(2, "e"))].concat()),
        number(38, 1),
    ]
    .concat();
    let version = [bytes(1, "v1"), number(2, 1), bytes(4, bytes(1, schema))].concat();
    assert_eq!(
        decode("apiextensions.k8s.io/v1", "CustomResourceDefinition", &bytes(2, bytes(7, version))),
        json!({"spec": {"versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": {
            "$ref": "#/x", "default": {"a": 1}, "enum": [1, null], "minimum": 1.5,
            "properties": {"one": {"items": {"type": "string"}}, "many": {"items": [{"type": "string"}, {"type": "string"}]}},
            "additionalProperties": true, "additionalItems": false, "dependencies": {"d": ["e"]},
            "x-kubernetes-preserve-unknown-fields": true,
        }}}]}})
    );
}

#[test]
fn zero_is_left_out_where_go_leaves_it_out() {
    // `replicas` is a pointer, `paused` is not; `workingDir` is left out when empty, a container's `name` never.
    let container = [bytes(1, ""), bytes(5, "")].concat();
    let spec = [number(1, 0), number(7, 0), bytes(3, bytes(2, bytes(2, container)))].concat();
    assert_eq!(
        decode("apps/v1", "Deployment", &bytes(2, spec)),
        json!({"spec": {"replicas": 0, "template": {"spec": {"containers": [{"name": ""}]}}}})
    );
}

#[test]
fn repeated_numbers_may_be_packed_and_messages_may_come_in_pieces() {
    let context = [number(4, 1), bytes(4, [varint(2), varint(300)].concat()), bytes(4, "")].concat();
    let spec = [bytes(14, number(2, 7)), bytes(14, context)].concat();
    // Unknown fields of every wire type lie between.
    let unknown = [number(999, 1), bytes(998, "x"), vec![0x9b, 0x3e, 8, 1, 0x9c, 0x3e]].concat();
    assert_eq!(
        decode("v1", "Pod", &[unknown, bytes(2, spec), bytes(2, bytes(10, "n"))].concat()),
        json!({"spec": {"nodeName": "n", "securityContext": {"runAsUser": 7, "supplementalGroups": [1, 2, 300]}}})
    );
}

#[test]
fn delete_options_belong_to_every_group_version() {
    let options = [number(1, 0), bytes(4, "Foreground"), bytes(2, bytes(1, "u"))].concat();
    let expected = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "preconditions": {"uid": "u"}});
    for version in ["v1", "apps/v1", "meta.k8s.io/v1", "example.org/v1beta1"] {
        assert_eq!(decode(version, "DeleteOptions", &options), expected);
    }
    assert_eq!(decode("policy/v1beta1", "Eviction", &bytes(2, &options)), json!({"deleteOptions": expected}));
}

#[test]
fn the_path_says_what_the_body_does_not() {
    let body = [MAGIC.to_vec(), bytes(2, bytes(1, bytes(1, "a")))].concat();
    let found: Value = serde_json::from_slice(&to_json(&body, "v1", "Pod").unwrap()).unwrap();
    assert_eq!(found, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}));
    let missing = to_json(&body, "", "Pod").unwrap_err().to_string();
    assert_eq!(missing, "Object 'apiVersion' is missing in 'runtime.TypeMeta{APIVersion:\"\", Kind:\"Pod\"}'");
}

#[test]
fn errors_are_upstreams() {
    let unrecognized = |why: &str| Error::Unrecognized(why.to_owned());
    assert_eq!(error(b""), unrecognized("empty data"));
    assert_eq!(error(MAGIC), unrecognized("empty body"));
    let prefix = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    assert_eq!(error(b"{\"kind\":\"Pod\"}"), unrecognized(prefix));
    assert_eq!(error(b"k8s\0\x0a\x05"), unrecognized("unexpected EOF"));
    assert_eq!(error(b"k8s\0\x08\x01"), unrecognized("proto: wrong wireType = 0 for field TypeMeta"));
    assert_eq!(why(&[0x0a, 9, 1]), "unexpected EOF");
    assert_eq!(why(&number(1, 1)), "proto: wrong wireType = 0 for field Metadata");
    assert_eq!(why(&bytes(2, [0x0c])), "proto: PodSpec: wiretype end group for non-group");
    let year = bytes(1, bytes(8, number(1, 300_000_000_000)));
    assert_eq!(why(&year), "Time.MarshalJSON: year outside of range [0,9999]");
    let unknown = Error::Object { version: "v1".to_owned(), kind: "Nothing".to_owned(), why: no_kind("v1", "Nothing") };
    assert_eq!(error(&envelope("v1", "Nothing", b"")), unknown);
    let custom = to_json(&envelope("example.org/v1", "Toy", b""), "example.org/v1", "Toy").unwrap_err().to_string();
    assert!(custom.starts_with("object *unstructured.Unstructured does not implement the protobuf"), "{custom}");
}

#[test]
fn depth_and_size_are_bounded() {
    let mut schema = Vec::new();
    for _ in 0..200 {
        schema = bytes(28, schema);
    }
    let crd = bytes(2, bytes(7, bytes(4, bytes(1, schema))));
    let deep = to_json(&envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &crd), "", "");
    assert_eq!(deep.unwrap_err().to_string(), "proto: messages are nested too deeply");
    let mut list = envelope("v1", "Pod", b"");
    for _ in 0..120 {
        list = envelope("apps/v1", "ControllerRevision", &bytes(2, bytes(1, list)));
    }
    assert!(to_json(&list, "", "").unwrap_err().to_string().contains("nested too deeply"));
    // An empty preference of four bytes is eighteen in JSON.
    let terms = bytes(2, bytes(2, "")).repeat(800_000);
    let pod = bytes(2, bytes(18, bytes(1, terms)));
    assert_eq!(why(&pod), "proto: the object is too large");
}

fn any_kind() -> impl Strategy<Value = (String, String)> {
    let kinds: Vec<_> = table::TEXT
        .lines()
        .filter_map(|line| line.split(' ').next()?.split_once('@'))
        .filter_map(|(_, named)| named.trim_start_matches('/').rsplit_once('/'))
        .map(|(version, kind)| (version.to_owned(), kind.to_owned()))
        .collect();
    prop::sample::select(kinds)
}

/// Bytes that are messages in messages more often than chance makes them.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1..50_u64, any::<i64>()).prop_map(|(field, value)| number(field, value)),
        (1..50_u64, "[a-z{}\"0-9]{0,8}").prop_map(|(field, value)| bytes(field, value)),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop::collection::vec((1..30_u64, inner), 1..6)
            .prop_map(|fields| fields.into_iter().flat_map(|(field, value)| bytes(field, value)).collect())
    })
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_read_is_json((version, kind) in any_kind(), raw in messages()) {
        if let Ok(json) = to_json(&envelope(&version, &kind, &raw), "", "") {
            let value: Value = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(&value["kind"], &Value::from(kind));
        }
    }

    #[test]
    fn no_envelope_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = to_json(&[MAGIC, &body].concat(), "v1", "Pod");
        let _ = to_json(&body, "", "");
    }

    #[test]
    fn no_damage_to_a_real_body_panics(which in 0..14_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let (mut body, _) = captured().nth(which).unwrap();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        if let Ok(json) = to_json(&body, "v1", "Pod") {
            prop_assert!(serde_json::from_slice::<Value>(&json).is_ok());
        }
    }
}
