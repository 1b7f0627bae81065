//! What Go's decoder says of text that is no JSON, or not the JSON that was asked for: clients know these words.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::go_text::quote;

/// Reads text that a field or an annotation holds. `null` is nothing, as in Go; `into` is Go's name of what it is read
/// into.
pub fn decode<T: DeserializeOwned + Default>(text: &[u8], into: &str) -> Result<T, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| syntax(text, &error))?;
    if value.is_null() {
        return Ok(T::default());
    }
    let met = type_of(&value);
    let is_list = into.starts_with("[]");
    match serde_json::from_value(value) {
        Ok(read) => Ok(read),
        Err(error) if is_list == (met == "array") && matches!(met, "array" | "object") => Err(format!("json: {error}")),
        Err(_) => Err(format!("json: cannot unmarshal {met} into Go value of type {into}")),
    }
}

/// Go's name of what a value is.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// How serde_json begins to tell of a letter in the wrong place, and where Go says that it was.
const PLACES: &[(&str, &str)] = &[
    ("key must be a string", "looking for beginning of object key string"),
    ("trailing comma", "looking for beginning of object key string"),
    ("expected `:`", "after object key"),
    ("expected `,` or `}`", "after object key:value pair"),
    ("expected `,` or `]`", "after array element"),
    ("trailing characters", "after top-level value"),
    ("control character", "in string literal"),
];

/// A syntax error.
pub fn syntax(json: &[u8], error: &serde_json::Error) -> String {
    if error.classify() == Category::Eof || json.is_empty() {
        return "unexpected end of JSON input".to_owned();
    }
    let at = offset(json, error).saturating_sub(1).min(json.len().saturating_sub(1));
    let text = error.to_string();
    let place = PLACES.iter().find(|(start, _)| text.starts_with(start));
    let place = place.map_or("looking for beginning of value", |(_, place)| place);
    format!("invalid character {} {place}", character(json[at]))
}

/// A byte as Go's decoder shows it: as the character of this number.
fn character(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => quote(&char::from(byte).to_string()).replace('"', "'"),
    }
}

/// Where serde_json stopped, counted in bytes.
pub fn offset(json: &[u8], error: &serde_json::Error) -> usize {
    let mut start = 0;
    for _ in 1..error.line() {
        let Some(newline) = json[start..].iter().position(|&byte| byte == b'\n') else { break };
        start += newline + 1;
    }
    (start + error.column()).min(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_gos() {
        let cases = [
            ("bad", "invalid character 'b' looking for beginning of value"),
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("{\"a\":}", "invalid character '}' looking for beginning of value"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
            ("5", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
            ("null", ""),
            ("{\"a\":1}", ""),
        ];
        for (text, expected) in cases {
            let read = decode::<serde_json::Map<String, Value>>(text.as_bytes(), "map[string]interface {}");
            assert_eq!(read.err().unwrap_or_default(), expected, "{text}");
        }
    }
}
