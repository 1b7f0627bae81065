//! Bodies of requests in protobuf, as Go's typed clients send them: turned into JSON before anything else looks
//! at them. Answers are never protobuf; clients that send it accept JSON.
//!
//! A body is four bytes of magic, then an envelope (`runtime.Unknown`) that says which kind it holds, then the object.
//! There are no generated types: [`table`] holds names and numbers of fields, `decode` walks by it. The server's
//! pipeline is the caller.

use std::fmt;

use super::gvk::split_api_version;

mod decode;
mod table;
mod wire;

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read, in upstream's words.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// Not even its kind can be told.
    Unrecognized(String),
    /// What the body says it is, and what is wrong with it.
    Object { version: String, kind: String, why: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unrecognized(why) | Self::Object { why, .. }) = self;
        f.write_str(why)
    }
}

/// A body as JSON text. Where it does not say which `apiVersion` and `kind` it has, those of the request's path count;
/// an empty one means that the path does not tell.
///
/// # Errors
/// The body is malformed, or of a kind that has no protobuf form.
pub fn to_json(body: &[u8], api_version: &str, kind: &str) -> Result<Vec<u8>, Error> {
    let mut envelope = Envelope::parse(body)?;
    if envelope.kind.is_empty() {
        kind.clone_into(&mut envelope.kind);
    }
    if envelope.api_version.is_empty() {
        api_version.clone_into(&mut envelope.api_version);
    }
    let fail = |why: String| {
        let version = split_api_version(&envelope.api_version).map_or("", |(_, version)| version);
        Error::Object { version: version.to_owned(), kind: envelope.kind.clone(), why }
    };
    for (name, value) in [("Kind", &envelope.kind), ("apiVersion", &envelope.api_version)] {
        if value.is_empty() {
            let meta = format!("runtime.TypeMeta{{APIVersion:{:?}, Kind:{:?}}}", envelope.api_version, envelope.kind);
            return Err(fail(format!("Object '{name}' is missing in '{meta}'")));
        }
    }
    let Some(message) = envelope.message() else {
        let custom = envelope.kind == kind && envelope.api_version == api_version;
        return Err(fail(if custom {
            "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message".to_owned()
        } else {
            no_kind(&envelope.api_version, &envelope.kind)
        }));
    };
    decode::object(message, &envelope.api_version, &envelope.kind, envelope.raw).map_err(|why| fail(why.to_string()))
}

fn no_kind(api_version: &str, kind: &str) -> String {
    format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
    )
}

/// What is around an object.
#[derive(Debug)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let unrecognized = |why: &dyn fmt::Display| Error::Unrecognized(why.to_string());
        if body.is_empty() {
            return Err(unrecognized(&"empty data"));
        }
        let Some(data) = body.strip_prefix(MAGIC) else {
            let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
            return Err(unrecognized(&why));
        };
        if data.is_empty() {
            return Err(unrecognized(&"empty body"));
        }
        Self::unwrap(data).map_err(|error| unrecognized(&error))
    }

    fn unwrap(data: &'a [u8]) -> Result<Self, wire::Malformed> {
        let mut found = Self { api_version: String::new(), kind: String::new(), raw: &[] };
        let mut fields = wire::Reader::new(data);
        while let Some((number, value)) = fields.field("Unknown")? {
            match number {
                1 => found.type_meta(value.bytes("typeMeta")?)?,
                2 => found.raw = value.bytes("raw")?,
                // How the object is encoded and which media type it has; upstream's decoder asks for neither.
                _ => {}
            }
        }
        if split_api_version(&found.api_version).is_none() {
            found.api_version.clear();
        }
        Ok(found)
    }

    fn type_meta(&mut self, data: &[u8]) -> Result<(), wire::Malformed> {
        let mut fields = wire::Reader::new(data);
        while let Some((number, value)) = fields.field("TypeMeta")? {
            match number {
                1 => self.api_version = String::from_utf8_lossy(value.bytes("apiVersion")?).into_owned(),
                2 => self.kind = String::from_utf8_lossy(value.bytes("kind")?).into_owned(),
                _ => {}
            }
        }
        Ok(())
    }

    fn message(&self) -> Option<&'static table::Message> {
        let (group, version) = split_api_version(&self.api_version)?;
        table::kind(group, version, &self.kind)
    }
}

#[cfg(test)]
mod tests;
