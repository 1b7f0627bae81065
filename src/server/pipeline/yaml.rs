//! YAML bodies as JSON, in upstream's words for what is wrong with them.
//!
//! Only the first document counts, as upstream reads it. Keys given twice do not make a text invalid (the last one
//! wins, as in JSON); [`duplicates`] finds them for who wants to know.

use std::collections::HashSet;

use granit_parser::{Event, Parser};
use serde::Deserialize;
use serde_json::Value;

/// Most duplicates that are told.
const MOST: usize = 100;

/// Levels of nesting that are read, in JSON as in YAML.
const DEEPEST: usize = 127;
/// Bytes that any parser reads in no time, whatever they are.
const SHORT: usize = 16 << 10;

/// The first document.
///
/// # Errors
/// `yaml: line 3: mapping values are not allowed in this context`.
pub fn parse(text: &[u8]) -> Result<Value, String> {
    // All of JSON is YAML, and most of what comes as YAML is JSON.
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    shallow(text).map_err(|why| format!("yaml: {why}"))?;
    let first = serde_yaml_ng::Deserializer::from_slice(text).next();
    let Some(document) = first else { return Ok(Value::Null) };
    Value::deserialize(document).map_err(|error| format!("yaml: {}", placed(&error)))
}

/// Refuses what goes deeper than is read. serde_yaml's own parser would first read all of it, in a time that grows with
/// the square of the depth. What this parser cannot follow may go on to the other while it is short.
fn shallow(text: &[u8]) -> Result<(), String> {
    let long = text.len() > SHORT;
    let text = String::from_utf8_lossy(text);
    let (mut parser, mut depth) = (Parser::new_from_str(&text), 0);
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(found) => found,
            Err(error) if long => return Err(format!("line {}: {}", error.marker().line(), error.info())),
            Err(_) => break,
        };
        match event {
            Event::DocumentEnd => break,
            Event::MappingStart(..) | Event::SequenceStart(..) if depth == DEEPEST => {
                return Err(format!("line {}: recursion limit exceeded", span.start.line()));
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

/// serde_yaml puts the place behind the problem, Go's library before it.
fn placed(error: &serde_yaml_ng::Error) -> String {
    let text = error.to_string();
    let problem = text.split(" at line ").next().unwrap_or_default();
    match error.location() {
        _ if problem.starts_with("control characters") => "control characters are not allowed".to_owned(),
        Some(place) => format!("line {}: {problem}", place.line()),
        None => problem.to_owned(),
    }
}

/// An open mapping or sequence.
enum Open {
    Sequence,
    /// The keys so far, and the one whose value comes next.
    Mapping {
        keys: HashSet<String>,
        key: Option<String>,
    },
}

/// Keys that are given twice: `line 12: key "paused" already set in map`.
pub fn duplicates(text: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(text) else { return Vec::new() };
    let (mut found, mut open) = (Vec::new(), Vec::<Open>::new());
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        if found.len() >= MOST {
            break;
        }
        match &event {
            Event::DocumentEnd => break,
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            _ if !event.is_node() => continue,
            _ => {}
        }
        if let Some(Open::Mapping { keys, key }) = open.last_mut() {
            match key.take() {
                None => *key = Some(shown(&event)),
                // The line of the value, as Go's library tells it.
                Some(name) => {
                    let text = format!("line {}: key {name} already set in map", span.start.line());
                    found.extend((!keys.insert(name)).then_some(text));
                }
            }
        }
        match event {
            Event::MappingStart(..) => open.push(Open::Mapping { keys: HashSet::new(), key: None }),
            Event::SequenceStart(..) => open.push(Open::Sequence),
            _ => {}
        }
    }
    found
}

/// A key as Go prints it: text in quotes, plain numbers and booleans without.
fn shown(event: &Event<'_>) -> String {
    match event.scalar() {
        Some((text, granit_parser::ScalarStyle::Plain))
            if serde_yaml_ng::from_str::<Value>(text).is_ok_and(|value| value.is_number() || value.is_boolean()) =>
        {
            text.to_owned()
        }
        Some((text, _)) => format!("{text:?}"),
        // Nothing valid has it as a key; never equal to a scalar's.
        None => String::new(),
    }
}

/// The duplicates as one error of a strict decoding.
pub fn strict_error(duplicates: &[String]) -> Option<String> {
    (!duplicates.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", duplicates.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_document_counts() {
        assert_eq!(parse(b"a: 1\n---\nb: 2\n"), Ok(json!({"a": 1})));
        assert_eq!(parse(b"a: 1\na: 2\n"), Ok(json!({"a": 2})));
        assert_eq!(parse(b""), Ok(Value::Null));
        let error = parse(b"a: b: c\n").unwrap_err();
        assert_eq!(error, "yaml: line 1: mapping values are not allowed in this context");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |open: &str, depth: usize| {
            format!("{}1{}", open.repeat(depth), if open == "[" { "]" } else { "}" }.repeat(depth))
        };
        for (open, depth, refused) in
            [("[", 127, false), ("{a: ", 127, false), ("[", 128, true), ("{a: ", 500_000, true)]
        {
            let wanted = refused.then(|| "yaml: line 1: recursion limit exceeded".to_owned());
            assert_eq!(parse(nested(open, depth).as_bytes()).err(), wanted, "{depth}");
        }
        let list = "- ".repeat(500_000);
        assert_eq!(parse(list.as_bytes()).unwrap_err(), "yaml: line 1: recursion limit exceeded");
    }

    #[test]
    fn keys_given_twice() {
        let text = "a: 1\nb:\n  c: {x: 1, x: 2}\n  c:\n    d: 1\nlist:\n- k: v\n  k: w\na: 3\n1: x\n\"1\": y\n";
        let wanted = [
            "line 3: key \"x\" already set in map",
            "line 5: key \"c\" already set in map",
            "line 8: key \"k\" already set in map",
            "line 9: key \"a\" already set in map",
        ];
        assert_eq!(duplicates(text.as_bytes()), wanted);
        assert_eq!(duplicates(b"a: [1\n: - }"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ab:\\-\\[\\]{}&*!|>'\"#\n ,?%@]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (parse(text.as_bytes()), duplicates(text.as_bytes()));
            let _ = (parse(&bytes), duplicates(&bytes));
        }
    }
}
