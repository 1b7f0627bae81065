//! JSON as text: finding and printing without building values. The text is known to be JSON, written by ourselves
//! or parsed before; what is not JSON gives nonsense, never a panic.
//!
//! Lists of thousands of objects are shown by these.

/// The text of a member of an object.
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut at = object.iter().position(|byte| *byte == b'{')? + 1;
    loop {
        at = skip_space(object, at);
        if *object.get(at)? == b'}' {
            return None;
        }
        let end = end_of_value(object, at)?;
        let key = object.get(at + 1..end - 1)?;
        at = skip_space(object, end);
        let start = skip_space(object, at + 1);
        let end = end_of_value(object, start)?;
        if key == name.as_bytes() {
            return object.get(start..end);
        }
        at = skip_space(object, end);
        if *object.get(at)? != b',' {
            return None;
        }
        at += 1;
    }
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Where the value that begins at `at` ends.
fn end_of_value(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = at;
    loop {
        match text.get(at)? {
            b'"' => at = end_of_string(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' => at += 1,
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                let rest = text.get(at..)?;
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Past the closing quote of the string that begins at `at`.
fn end_of_string(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The same text on many lines, indented by two spaces.
pub fn pretty(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3 / 2);
    let mut depth = 0_usize;
    let mut at = 0;
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    while let Some(byte) = text.get(at) {
        let mut next = at + 1;
        match byte {
            b'"' => {
                next = end_of_string(text, at).unwrap_or(text.len());
                out.extend_from_slice(&text[at..next]);
            }
            b'{' | b'[' => {
                out.push(*byte);
                let inside = skip_space(text, next);
                match text.get(inside) {
                    Some(close @ (b'}' | b']')) => {
                        out.push(*close);
                        next = inside + 1;
                    }
                    _ => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(*byte);
            }
            b',' => {
                out.push(b',');
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            byte if byte.is_ascii_whitespace() => {}
            byte => out.push(*byte),
        }
        at = next;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn members_are_found_where_they_are() {
        let text = br#"{"a":"}\"{", "metadata" : {"name":"x","n":[1,{"metadata":2}]},"b":-1.5,"c":true}"#;
        assert_eq!(member(text, "metadata"), Some(&br#"{"name":"x","n":[1,{"metadata":2}]}"#[..]));
        assert_eq!(member(text, "b"), Some(&b"-1.5"[..]));
        assert_eq!(member(text, "c"), Some(&b"true"[..]));
        assert_eq!(member(text, "n"), None);
        assert_eq!(member(b"{}", "a"), None);
        assert_eq!(member(b"", "a"), None);
        assert_eq!(member(b"{\"a", "a"), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(".*", inner, 0..6).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_is_what_serde_prints(value in any_json()) {
            let text = serde_json::to_vec(&value).unwrap();
            let expected = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(String::from_utf8(pretty(&text)).unwrap(), expected.clone());
            prop_assert_eq!(String::from_utf8(pretty(expected.as_bytes())).unwrap(), expected);
        }

        #[test]
        fn members_are_those_that_serde_sees(value in any_json()) {
            let object = json!({"first": [value.clone()], "one": value, "last": {"one": 1}});
            let text = serde_json::to_vec(&object).unwrap();
            for name in ["first", "one", "last"] {
                let found: Value = serde_json::from_slice(member(&text, name).unwrap()).unwrap();
                prop_assert_eq!(&found, &object[name]);
            }
        }
    }
}
