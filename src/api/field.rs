//! Field paths and the errors found at them, worded as apimachinery's `field` package words them:
//! clients and tests read these texts.

use std::fmt;

use serde_json::Value;

use super::go_text::quote;

/// The path of a field, such as `spec.containers[0].name` or `metadata.labels[app]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Path(String);

impl Path {
    pub fn root() -> Self {
        Self::default()
    }
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            return Self::new(name);
        }
        Self(format!("{}.{name}", self.0))
    }
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// What is wrong with a field: upstream's `field.ErrorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    Internal,
    TypeInvalid,
}

impl ErrorKind {
    /// The `reason` of a cause in a Status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub field: String,
    /// Everything after the field: `Invalid value: "x": must be …`.
    pub body: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// Everything wrong with an object, in the order of its fields.
pub type Errors = Vec<Error>;

impl Error {
    fn new(kind: ErrorKind, path: &Path, value: Option<String>, detail: &str) -> Self {
        let mut body = kind.words().to_owned();
        for part in [value.as_deref().unwrap_or_default(), detail] {
            if !part.is_empty() {
                body.push_str(": ");
                body.push_str(part);
            }
        }
        Self { kind, field: path.to_string(), body }
    }

    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Invalid, path, Some(shown(value.into())), detail.as_ref())
    }
    /// Invalid as a whole, for values that are too large to show: upstream's `OmitValueType`.
    pub fn invalid_unshown(path: &Path, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Invalid, path, None, detail.as_ref())
    }
    /// Invalid, with the value as upstream shows it where that is not the JSON of ours: its types are other ones.
    pub fn invalid_shown(path: &Path, value: &str, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Invalid, path, Some(value.to_owned()), detail.as_ref())
    }
    /// A duplicate, with the value as upstream shows it where that is no JSON.
    pub fn duplicate_shown(path: &Path, value: &str) -> Self {
        Self::new(ErrorKind::Duplicate, path, Some(value.to_owned()), "")
    }
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::TypeInvalid, path, Some(shown(value.into())), detail.as_ref())
    }
    pub fn required(path: &Path, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Required, path, None, detail.as_ref())
    }
    pub fn forbidden(path: &Path, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Forbidden, path, None, detail.as_ref())
    }
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, path, Some(shown(value.into())), "")
    }
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::NotFound, path, Some(shown(value.into())), "")
    }
    pub fn internal(path: &Path, detail: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Internal, path, None, detail.as_ref())
    }
    /// `supported` is listed sorted, as upstream does where it keeps a set.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let mut sorted = supported.to_vec();
        sorted.sort_unstable();
        Self::not_supported_in_order(path, value, &sorted)
    }
    /// The same in the order given, as upstream does where it keeps a list.
    pub fn not_supported_in_order(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let names: Vec<_> = supported.iter().map(|name| quote(name)).collect();
        let detail = if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        Self::new(ErrorKind::NotSupported, path, Some(shown(value.into())), &detail)
    }
    /// Of the object as a whole: no field at all.
    #[must_use]
    pub fn of_object(mut self) -> Self {
        self.field.clear();
        self
    }
    /// Says more than the kind of error does by itself.
    #[must_use]
    pub fn because(mut self, detail: &str) -> Self {
        self.body.push_str(": ");
        self.body.push_str(detail);
        self
    }
    /// The value is left out of the message, as upstream does since v1.32.
    pub fn too_long(path: &Path, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        Self::new(ErrorKind::TooLong, path, None, &detail)
    }
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::new(ErrorKind::TooMany, path, Some(actual.to_string()), &detail)
    }
}

/// A value as upstream prints it: as JSON.
fn shown(value: Value) -> String {
    match value {
        Value::String(text) => quote(&text),
        other => other.to_string(),
    }
}

/// The message of several errors together, as `ErrorList.ToAggregate` words it (repeats dropped).
pub fn aggregate(errors: &[Error]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.len() {
        1 => texts.remove(0),
        _ => format!("[{}]", texts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_upstreams() {
        let spec = Path::new("spec");
        let cases = [
            (
                Error::invalid(&spec.child("replicas"), -1, "must be greater than or equal to 0"),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                Error::required(&spec.child("containers").index(0).child("name"), ""),
                "spec.containers[0].name: Required value",
            ),
            (
                Error::not_supported(&spec.child("type"), "x", &["B", "A"]),
                "spec.type: Unsupported value: \"x\": supported values: \"A\", \"B\"",
            ),
            (Error::duplicate(&spec.key("a"), "a"), "spec[a]: Duplicate value: \"a\""),
            (Error::invalid(&spec, Value::Null, "must be there"), "spec: Invalid value: null: must be there"),
            (Error::invalid(&spec, "\u{1}", "is odd"), "spec: Invalid value: \"\\x01\": is odd"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }
}
