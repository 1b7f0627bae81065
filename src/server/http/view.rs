//! Objects and lists in the form a client asked for: as they are, as a Table, or their metadata only.
//!
//! The plain form splices stored bytes and decodes nothing.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::negotiate::View;
use crate::api::duration;
use crate::api::gvk::api_version;
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
            other => Err(Failure::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// One object.
pub fn object(kind: &dyn Kind, stored: Bytes, view: View, include: Include) -> Result<Bytes> {
    match view {
        View::Plain => Ok(stored),
        View::Metadata => to_bytes(&partial(&parse(&stored)?)),
        View::Table => {
            let value = parse(&stored)?;
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            let row = row(kind, &stored, value, include)?;
            to_bytes(&table(columns(kind), vec![row], metadata))
        }
    }
}

/// An object of a watch; the columns are described in the first event only.
pub fn event(kind: &dyn Kind, object: &Bytes, view: View, include: Include, first: bool) -> Result<Bytes> {
    match view {
        View::Plain => Ok(object.clone()),
        View::Metadata => to_bytes(&partial(&parse(object)?)),
        View::Table => {
            let value = parse(object)?;
            let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
            let described = if first { columns(kind) } else { Value::Null };
            let row = row(kind, object, value, include)?;
            to_bytes(&table(described, vec![row], metadata))
        }
    }
}

/// A list.
pub fn list(kind: &dyn Kind, listed: &Listed, view: View, include: Include) -> Result<Bytes> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), listed.revision.to_string().into());
    if let Some(token) = &listed.continue_token {
        metadata.insert("continue".to_owned(), token.as_str().into());
    }
    if let Some(remaining) = listed.remaining.filter(|remaining| *remaining > 0) {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    let metadata = Value::Object(metadata);
    match view {
        View::Plain => Ok(splice(kind, &listed.items, &metadata)),
        View::Metadata => {
            let items: Vec<Value> =
                listed.items.iter().map(|item| Ok(partial(&parse(item)?))).collect::<Result<_>>()?;
            to_bytes(&json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": items,
            }))
        }
        View::Table => {
            let rows = listed.items.iter().map(|item| row(kind, item, parse(item)?, include));
            to_bytes(&table(columns(kind), rows.collect::<Result<_>>()?, metadata))
        }
    }
}

/// The list envelope around the stored bytes.
fn splice(kind: &dyn Kind, items: &[Bytes], metadata: &Value) -> Bytes {
    let meta = kind.meta();
    let size: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        meta.kind,
        meta.api_version()
    );
    out.extend_from_slice(head.as_bytes());
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.extend_from_slice(b"]}\n");
    out.into()
}

fn parse(json: &[u8]) -> Result<Value> {
    serde_json::from_slice(json).map_err(Failure::internal)
}

fn to_bytes(value: &Value) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(Failure::internal)
}

fn partial(value: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version("meta.k8s.io", "v1"),
        "metadata": value["metadata"],
    })
}

fn table(columns: Value, rows: Vec<Value>, metadata: Value) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata, "columnDefinitions": columns, "rows": rows,
    })
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

fn row(kind: &dyn Kind, stored: &[u8], value: Value, include: Include) -> Result<Value> {
    let now = jiff::Timestamp::now();
    // What comes here is what the kind shows (a bookmark too): never another version's stored form.
    let object = kind.decode(stored).map_err(Failure::internal)?;
    let cells = kind.cells(object.as_ref(), now).unwrap_or_else(|| {
        let born = object.meta().creation_timestamp.as_ref();
        vec![object.name().into(), born.map_or_else(|| "<unknown>".into(), |born| age(now, born.0))]
    });
    Ok(match include {
        Include::None => json!({"cells": cells, "object": null}),
        Include::Metadata => json!({"cells": cells, "object": partial(&value)}),
        Include::Object => json!({"cells": cells, "object": value}),
    })
}

fn age(now: jiff::Timestamp, born: jiff::Timestamp) -> Value {
    let elapsed = now.duration_since(born).unsigned_abs();
    duration::human(elapsed).into()
}
