//! From the bytes of a request to an object of the kind, with upstream's words for what is wrong.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::options::FieldValidation;
use super::{Context, strict, yaml};
use crate::api::gvk::{api_version, split_api_version};
use crate::api::hex::hex;
use crate::api::object::Object;
use crate::api::protobuf;
use crate::api::schema;
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::pipeline::go_error;
use crate::server::strategy::{DecodeError, Meta};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
    Protobuf,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub struct Payload {
    pub bytes: Bytes,
    pub media: Media,
}

/// What a body says it is; the inner `None` is a null, which says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TypeMeta {
    #[serde(deserialize_with = "there")]
    api_version: Option<Option<String>>,
    #[serde(deserialize_with = "there")]
    kind: Option<Option<String>>,
}

fn there<'de, D: Deserializer<'de>>(field: D) -> std::result::Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Why a body is not of the kind that is wanted.
pub(crate) enum Mistyped {
    /// It cannot be read what it is.
    Unread(String),
    /// It is something else.
    Other { kind: String, version: String, why: String },
    /// It is another version of the same.
    OtherVersion(String),
}

impl Mistyped {
    pub fn into_failure(self, meta: &Meta, json: &[u8]) -> Failure {
        match self {
            Self::Unread(why) => unrecognized(meta.kind, &why, json),
            Self::Other { kind, version, why } => Failure::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {}: {why}",
                meta.kind
            )),
            Self::OtherVersion(why) => Failure::bad_request(why),
        }
    }

    /// Where the reader knows what was read.
    pub fn why(self) -> String {
        match self {
            Self::Unread(why) | Self::Other { why, .. } | Self::OtherVersion(why) => why,
        }
    }
}

impl Payload {
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), media: Media::Json }
    }

    /// The body as JSON text, where it must say itself what it is.
    pub fn to_json(&self) -> Result<Bytes> {
        self.to_json_as("", "")
    }

    /// The body as JSON text where it holds options: it need not be there, and its errors do not say what was to be read.
    pub fn options_to_json(&self, api_version: &str, kind: &str) -> std::result::Result<Bytes, String> {
        match self.media {
            _ if self.bytes.trim_ascii().is_empty() => Ok(Bytes::new()),
            Media::Json => Ok(self.bytes.clone()),
            Media::Yaml => yaml::parse(&self.bytes).map(|value| value.to_string().into()),
            Media::Protobuf => match protobuf::to_json(&self.bytes, api_version, kind) {
                Ok(json) => Ok(json.into()),
                Err(protobuf::Error::Unrecognized(why) | protobuf::Error::Object { why, .. }) => Err(why),
            },
        }
    }

    /// The body as JSON text. A protobuf body may leave it to the path of the request to say what it is.
    pub fn to_json_as(&self, api_version: &str, kind: &str) -> Result<Bytes> {
        match self.media {
            Media::Json => Ok(self.bytes.clone()),
            Media::Yaml => {
                let value = yaml::parse(&self.bytes).map_err(|why| unrecognized(kind, &why, &self.bytes))?;
                serde_json::to_vec(&value).map(Bytes::from).map_err(Failure::internal)
            }
            Media::Protobuf => match protobuf::to_json(&self.bytes, api_version, kind) {
                Ok(json) => Ok(json.into()),
                Err(protobuf::Error::Unrecognized(why)) => Err(unrecognized(kind, &why, &self.bytes)),
                Err(protobuf::Error::Object { version, kind: given, why }) => Err(Failure::bad_request(format!(
                    "{given} in version \"{version}\" cannot be handled as a {kind}: {why}"
                ))),
            },
        }
    }
}

/// Decodes a body and reports unknown and repeated fields as the client asked.
pub fn decode(context: &Context, payload: &Payload, validation: FieldValidation) -> Result<Box<dyn Object>> {
    let meta = context.kind.meta();
    let json = payload.to_json_as(&meta.api_version(), meta.kind)?;
    let json = of_type(meta, &json).map_err(|error| error.into_failure(meta, &json))?;
    let object = typed(context, &json).map_err(|why| unfit(meta, &why))?;
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    if validation != FieldValidation::Ignore {
        if payload.media == Media::Yaml {
            warnings = yaml::duplicates(&payload.bytes);
            errors.extend(yaml::strict_error(&warnings));
        }
        let problems = unknown(context, &json, object.as_ref());
        errors.extend(problems.iter().cloned());
        warnings.extend(problems);
    }
    if validation == FieldValidation::Strict && !errors.is_empty() {
        return Err(unfit(meta, &strict_decoding_error(&errors)));
    }
    warnings.into_iter().for_each(|warning| context.warn(warning));
    Ok(object)
}

/// JSON that is known to be of this kind, whatever else it holds. What is wrong is in Go's words.
pub(super) fn typed(context: &Context, json: &[u8]) -> std::result::Result<Box<dyn Object>, String> {
    typed_in(context, json, go_error::words)
}

/// [`typed`] in other words.
pub(super) fn typed_in(
    context: &Context,
    json: &[u8],
    words: fn(&[u8], &serde_json::Error, &Meta) -> String,
) -> std::result::Result<Box<dyn Object>, String> {
    let words = |error: DecodeError| words(json, &error.0, context.kind.meta());
    let mut object = context.kind.decode(json).map_err(words)?;
    context.kind.normalize(object.as_mut()).map_err(words)?;
    Ok(object)
}

/// Unknown and repeated fields of an object's text.
pub(super) fn unknown(context: &Context, json: &[u8], object: &dyn Object) -> Vec<String> {
    let meta = context.kind.meta();
    strict::problems(json, object, schema::for_kind(meta.group, meta.version, meta.kind))
}

pub(super) fn strict_decoding_error(errors: &[String]) -> String {
    format!("strict decoding error: {}", errors.join(", "))
}

/// A body that is of this kind but does not fit it.
pub(crate) fn unfit(meta: &Meta, why: &str) -> Failure {
    Failure::bad_request(format!("{0} in version \"{1}\" cannot be handled as a {0}: {why}", meta.kind, meta.version))
}

/// The body, whose `apiVersion` and `kind` must be those wanted where they are given. Nulls in their place are left out.
pub(crate) fn of_type<'a>(meta: &Meta, json: &'a [u8]) -> std::result::Result<Cow<'a, [u8]>, Mistyped> {
    let unread = |why: String| Mistyped::Unread(format!("couldn't get version/kind; json parse error: {why}"));
    let trimmed = json.trim_ascii();
    if trimmed == b"null" {
        return Ok(Cow::Borrowed(b"{}"));
    }
    let given = serde_json::from_slice::<TypeMeta>(json).map_err(|error| unread(go_error::syntax(json, &error)))?;
    if trimmed.starts_with(b"[") {
        return Err(unread(go_error::no_type("array")));
    }
    let has_null = matches!(given.api_version, Some(None)) || matches!(given.kind, Some(None));
    let (version, kind) = (given.api_version.flatten().unwrap_or_default(), given.kind.flatten().unwrap_or_default());
    check_type(meta, &version, &kind)?;
    if !has_null {
        return Ok(Cow::Borrowed(json));
    }
    let mut fields: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| unread(go_error::syntax(json, &error)))?;
    fields.retain(|name, value| !(value.is_null() && matches!(name.as_str(), "apiVersion" | "kind")));
    Ok(Cow::Owned(Value::Object(fields).to_string().into_bytes()))
}

fn check_type(meta: &Meta, version: &str, kind: &str) -> std::result::Result<(), Mistyped> {
    let Some((group, short)) = split_api_version(version) else {
        return Err(Mistyped::Unread(format!("unexpected GroupVersion string: {version}")));
    };
    let (group, short) = if version.is_empty() { (meta.group, meta.version) } else { (group, short) };
    let named = if kind.is_empty() { meta.kind } else { kind };
    let expected = meta.api_version();
    if named == meta.kind && api_version(group, short) == expected {
        return Ok(());
    }
    let other = |why: String| Mistyped::Other { kind: named.to_owned(), version: short.to_owned(), why };
    if catalog().find_kind(group, short, named).is_none() {
        let version = api_version(group, short);
        return Err(other(format!(
            "no kind \"{named}\" is registered for version \"{version}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )));
    }
    if named != meta.kind {
        return Err(other(format!(
            "converting ({short}.{named}) to ({}.{}): unknown conversion",
            internal_package(meta.group),
            meta.kind
        )));
    }
    Err(Mistyped::OtherVersion(format!(
        "the API version in the data ({version}) does not match the expected API version ({expected})"
    )))
}

fn unrecognized(kind: &str, why: &str, body: &[u8]) -> Failure {
    let summary = summarize(body);
    Failure::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({summary})"))
}

/// The name of upstream's internal package of a group.
fn internal_package(group: &str) -> &str {
    match group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}

/// The start of a body for an error message: text where it looks like JSON, else hex.
fn summarize(data: &[u8]) -> String {
    const MAX: usize = 30;
    let cut = &data[..data.len().min(MAX)];
    let more = if data.len() > MAX { " ..." } else { "" };
    match data.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(cut)),
        Some(_) => format!("{}{more}", hex(cut)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protobuf(body: &[u8]) -> Payload {
        Payload { bytes: Bytes::copy_from_slice(body), media: Media::Protobuf }
    }

    #[test]
    fn every_kind_can_be_sent_in_protobuf() {
        for kind in catalog().kinds() {
            let meta = kind.meta();
            // No `typeMeta`, and an object of empty metadata alone.
            let json = protobuf(b"k8s\0\x12\x02\x0a\x00").to_json_as(&meta.api_version(), meta.kind);
            let json = json.unwrap_or_else(|error| panic!("{}: {error:?}", meta.plural));
            let expected = serde_json::json!({"apiVersion": meta.api_version(), "kind": meta.kind, "metadata": {}});
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), expected);
            if let Err(error) = kind.decode(&json) {
                panic!("{}: {}", meta.plural, error.0);
            }
        }
    }

    #[test]
    fn what_is_wrong_with_protobuf_is_told_as_upstream_does() {
        let message = |body: &[u8]| match protobuf(body).to_json_as("v1", "Pod") {
            Ok(json) => panic!("{json:?}"),
            Err(failure) => format!("{} {}", failure.code(), failure.message()),
        };
        assert_eq!(
            message(b"{}"),
            "400 the object provided is unrecognized (must be of type Pod): provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({})"
        );
        assert_eq!(
            message(b"k8s\0\x12"),
            "400 the object provided is unrecognized (must be of type Pod): unexpected EOF (6b38730012)"
        );
        assert_eq!(
            message(b"k8s\0\x12\x02\x0a\x09"),
            "400 Pod in version \"v1\" cannot be handled as a Pod: unexpected EOF"
        );
    }
}
