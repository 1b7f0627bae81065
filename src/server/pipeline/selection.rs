//! Which objects a list or watch is about: label and field selectors applied to stored bytes.
//!
//! Looks no deeper into an object than the selectors need: not at all without them, at its text for what it must
//! surely hold, at its metadata for labels and names, and decodes it only for other fields.

use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::Deserialize;

use super::Context;
use super::options::ListOptions;
use crate::api::selector::{FieldSelector, LabelSelector};
use crate::api::status::{Failure, Result};
use crate::server::strategy::Kind;

pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// A field beyond name and namespace is asked for.
    deep: bool,
    /// Without each of these texts in its JSON an object cannot be meant.
    texts: Vec<Finder<'static>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Peek {
    metadata: PeekMeta,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PeekMeta {
    name: String,
    namespace: String,
    labels: BTreeMap<String, String>,
}

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

/// Namespace and name of a stored object.
pub(super) fn name_of(stored: &[u8]) -> Result<(String, String)> {
    let peek: Peek = serde_json::from_slice(stored).map_err(Failure::internal)?;
    Ok((peek.metadata.namespace, peek.metadata.name))
}

impl Selection {
    pub fn parse(kind: &dyn Kind, options: &ListOptions) -> Result<Self> {
        let unable = |error: crate::api::selector::SelectorError| Failure::bad_request(error.to_string());
        let labels = LabelSelector::parse(&options.label_selector).map_err(unable)?;
        let fields = FieldSelector::parse(&options.field_selector).map_err(unable)?;
        let mut deep = false;
        for requirement in fields.requirements() {
            let name = requirement.field.as_str();
            let of_kind = kind.selectable();
            let common = name == NAME || (name == NAMESPACE && (kind.meta().namespaced || of_kind.is_empty()));
            if !common && !of_kind.contains(&name) {
                return Err(Failure::bad_request(unsupported(kind, name)));
            }
            deep |= !common;
        }
        let values = fields.requirements().iter().filter(|wanted| wanted.equal).map(|wanted| &wanted.value);
        let values = values.filter(|value| is_spelled_out(value)).cloned();
        let pairs = labels.pairs().map(|(key, value)| format!("\"{key}\":\"{value}\""));
        let texts = pairs.chain(values).map(|text| Finder::new(&text).into_owned()).collect();
        Ok(Self { labels, fields, deep, texts })
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The keys to look at: one where the selector names one object.
    pub fn prefix(&self, context: &Context) -> String {
        let meta = context.kind.meta();
        let single = !meta.namespaced || !context.namespace.is_empty();
        match self.fields.exact(NAME).filter(|_| single) {
            Some(name) => meta.key(&context.namespace, name),
            None => context.prefix(),
        }
    }

    pub fn matches(&self, kind: &dyn Kind, stored: &Bytes) -> Result<bool> {
        if self.is_everything() {
            return Ok(true);
        }
        if self.texts.iter().any(|text| text.find(stored).is_none()) {
            return Ok(false);
        }
        if !self.deep {
            let peek: Peek = serde_json::from_slice(stored).map_err(Failure::internal)?;
            let meta = &peek.metadata;
            return Ok(self.labels.matches(&meta.labels)
                && self.fields.matches(|field| if field == NAME { &meta.name } else { &meta.namespace }));
        }
        let object = kind.decode_stored(stored).map_err(Failure::internal)?;
        if !self.labels.matches_option(object.meta().labels.as_ref()) {
            return Ok(false);
        }
        let values = kind.fields(object.as_ref());
        Ok(self.fields.matches(|field| match field {
            NAME => object.name(),
            NAMESPACE => object.namespace(),
            other => values.iter().find(|(name, _)| *name == other).map_or("", |(_, value)| value.as_ref()),
        }))
    }
}

/// Whether a field with this value has it in the object's JSON as it is here: JSON escapes nothing of it, and it is no
/// number or truth value, which an object may leave out.
fn is_spelled_out(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    value.bytes().all(plain) && !matches!(value, "true" | "false") && value.bytes().any(|byte| !byte.is_ascii_digit())
}

/// Upstream words it by where it looks the field up.
fn unsupported(kind: &dyn Kind, field: &str) -> String {
    match (kind.meta().kind, kind.selectable()) {
        ("Job", _) => format!("field label {field:?} not supported for Job"),
        (_, []) => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        _ => format!("field label not supported: {field}"),
    }
}
