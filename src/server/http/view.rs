//! Objects and lists in the form a client asked for: as they are, as a Table, or their metadata only.
//!
//! The plain form splices stored bytes and decodes nothing; metadata is cut out of them; a table decodes
//! each object for its cells. No form builds the list as a value.

use std::io::Write;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::negotiate::{Shown, View};
use crate::api::duration;
use crate::api::json_text::member;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::list::Listed;
use crate::server::strategy::{Column, Kind};

/// What each row of a table carries of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

impl Include {
    /// # Errors
    /// 400 for anything but the three.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "None" => Ok(Self::None),
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            other => Err(Failure::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// One object.
///
/// # Errors
/// 406 where a list of metadata was asked for.
pub fn object(kind: &dyn Kind, stored: Bytes, view: View, include: Include) -> Result<Bytes> {
    match view.shown {
        Shown::Plain => Ok(stored),
        Shown::MetadataList => {
            let list = "you requested PartialObjectMetadataList, but the requested object is not a list";
            Err(not_acceptable(&format!("{list} ({})", go_type(kind, ""))))
        }
        _ => event(kind, &stored, view, include, true),
    }
}

/// An object of a watch, on one line; the columns are described in the first event only.
pub fn event(kind: &dyn Kind, object: &Bytes, view: View, include: Include, first: bool) -> Result<Bytes> {
    let mut out = Vec::with_capacity(object.len() + 1024);
    match view.shown {
        Shown::Plain => return Ok(object.clone()),
        Shown::Metadata | Shown::MetadataList => partial(&mut out, object, view),
        Shown::Table => {
            let version = member(metadata(object), "resourceVersion").unwrap_or(b"\"\"");
            let metadata = [b"{\"resourceVersion\":", version, b"}"].concat();
            let columns = if first { columns(kind) } else { Value::Null };
            table(&mut out, kind, &columns, &metadata, std::slice::from_ref(object), view, include)?;
        }
    }
    Ok(out.into())
}

/// A list.
///
/// # Errors
/// 406 where the metadata of one object was asked for.
pub fn list(kind: &dyn Kind, listed: &Listed, view: View, include: Include) -> Result<Bytes> {
    let metadata = list_metadata(listed).to_string();
    let size: usize = match view.shown {
        Shown::Plain => listed.items.iter().map(|item| item.len() + 1).sum(),
        _ => listed.items.len() * 1024,
    };
    let mut out = Vec::with_capacity(size + 256);
    match view.shown {
        Shown::Plain => {
            let meta = kind.meta();
            open(&mut out, &format!("{}List", meta.kind), &meta.api_version(), metadata.as_bytes());
            out.extend_from_slice(b",\"items\":[");
            // The list says of what type its items are: they themselves do not. Our encoder begins with these two.
            let head = format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", meta.api_version(), meta.kind);
            joined(&mut out, &listed.items, |out, item| {
                let rest = item.strip_prefix(head.as_bytes());
                out.extend_from_slice(rest.map_or(b"", |_| b"{"));
                out.extend_from_slice(rest.unwrap_or(item));
                Ok(())
            })?;
            out.extend_from_slice(b"]}");
        }
        Shown::MetadataList => {
            open(&mut out, "PartialObjectMetadataList", view.api_version(), metadata.as_bytes());
            out.extend_from_slice(b",\"items\":[");
            joined(&mut out, &listed.items, |out, item| {
                partial(out, item, view);
                Ok(())
            })?;
            out.extend_from_slice(b"]}");
        }
        Shown::Metadata => {
            let one = "you requested PartialObjectMetadata, but the requested object is a list";
            return Err(not_acceptable(&format!("{one} ({})", go_type(kind, "List"))));
        }
        Shown::Table => table(&mut out, kind, &columns(kind), metadata.as_bytes(), &listed.items, view, include)?,
    }
    out.push(b'\n');
    Ok(out.into())
}

fn list_metadata(listed: &Listed) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), listed.revision.to_string().into());
    if let Some(token) = &listed.continue_token {
        metadata.insert("continue".to_owned(), token.as_str().into());
    }
    if let Some(remaining) = listed.remaining.filter(|remaining| *remaining > 0) {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    metadata.into()
}

fn not_acceptable(message: &str) -> Failure {
    Failure::new(406, "NotAcceptable", message)
}

/// What upstream's message calls the type: `*core.PodList`.
fn go_type(kind: &dyn Kind, ending: &str) -> String {
    let meta = kind.meta();
    let package = meta.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    format!("*{package}.{}{ending}", meta.kind)
}

/// `{"kind":…,"apiVersion":…,"metadata":…`, to be continued.
fn open(out: &mut Vec<u8>, kind: &str, api_version: &str, metadata: &[u8]) {
    out.extend_from_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":").as_bytes());
    out.extend_from_slice(metadata);
}

fn joined(out: &mut Vec<u8>, items: &[Bytes], mut write: impl FnMut(&mut Vec<u8>, &Bytes) -> Result<()>) -> Result<()> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item)?;
    }
    Ok(())
}

fn metadata(object: &[u8]) -> &[u8] {
    member(object, "metadata").unwrap_or(b"{}")
}

fn partial(out: &mut Vec<u8>, object: &[u8], view: View) {
    open(out, "PartialObjectMetadata", view.api_version(), metadata(object));
    out.push(b'}');
}

fn table(
    out: &mut Vec<u8>,
    kind: &dyn Kind,
    columns: &Value,
    metadata: &[u8],
    items: &[Bytes],
    view: View,
    include: Include,
) -> Result<()> {
    let now = jiff::Timestamp::now();
    open(out, "Table", view.api_version(), metadata);
    write!(out, ",\"columnDefinitions\":{columns},\"rows\":[").map_err(Failure::internal)?;
    joined(out, items, |out, item| {
        row(out, kind, item, now)?;
        out.extend_from_slice(b",\"object\":");
        match include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Metadata => partial(out, item, view),
            Include::Object => out.extend_from_slice(item),
        }
        out.push(b'}');
        Ok(())
    })?;
    out.extend_from_slice(b"]}");
    Ok(())
}

fn columns(kind: &dyn Kind) -> Value {
    let definition = |column: &Column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    };
    kind.columns().iter().map(definition).collect()
}

/// The cells of an object, and whether it is done with its work; to be continued.
fn row(out: &mut Vec<u8>, kind: &dyn Kind, stored: &[u8], now: jiff::Timestamp) -> Result<()> {
    // What comes here is what the kind shows (a bookmark too): never another version's stored form.
    let object = kind.decode(stored).map_err(Failure::internal)?;
    let cells = kind.cells(object.as_ref(), now).unwrap_or_else(|| {
        let born = object.meta().creation_timestamp.as_ref();
        vec![object.name().into(), born.map_or_else(|| "<unknown>".into(), |born| age(now, born.0))]
    });
    write!(out, "{{\"cells\":{}", Value::from(cells)).map_err(Failure::internal)?;
    if let Some((reason, message)) = kind.completed(object.as_ref()) {
        let condition = json!({"type": "Completed", "status": "True", "reason": reason, "message": message});
        write!(out, ",\"conditions\":[{condition}]").map_err(Failure::internal)?;
    }
    Ok(())
}

fn age(now: jiff::Timestamp, born: jiff::Timestamp) -> Value {
    let elapsed = now.duration_since(born).unsigned_abs();
    duration::human(elapsed).into()
}
