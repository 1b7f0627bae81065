//! The last step of every write, and the one place where a store's error becomes a Status.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusCause;

use super::{Context, Pipeline};
use crate::api::gvk::GroupResource;
use crate::api::object::{Object, Template};
use crate::api::status::{Failure, Result};
use crate::server::admission::Attributes;
use crate::server::strategy::Meta;
use crate::store::{Change, Durability, Error, Expect, Item, Write};

/// Errors that are not about one object's conflict.
pub fn store_failure(error: &Error) -> Failure {
    match error {
        Error::Conflict { .. } => Failure::internal("a conflict outside of a write"),
        Error::Compacted { requested, oldest } => {
            Failure::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        Error::Future { requested, current } => too_large(*requested, *current),
        Error::Unavailable(_) => Failure::unavailable(error.to_string()).retry_after(1),
        Error::Corrupt(_) => Failure::internal(error),
        Error::Closed => Failure::unavailable("apiserver is shutting down").retry_after(1),
    }
}

/// `NewTooLargeResourceVersionError` of apiserver's storage.
pub fn too_large(requested: u64, current: u64) -> Failure {
    let text = format!("Too large resource version: {requested}, current: {current}");
    let cause = StatusCause {
        reason: Some("ResourceVersionTooLarge".to_owned()),
        message: Some("Too large resource version".to_owned()),
        ..Default::default()
    };
    Failure::timeout(format!("Timeout: {text}")).with_causes(vec![cause]).retry_after(1)
}

/// A precondition that the storage layer found broken, in its own words, which upstream lets through.
pub(crate) fn precondition_failed(
    kind: &Meta,
    namespace: &str,
    name: &str,
    what: &str,
    wanted: &str,
    found: &str,
) -> Failure {
    let place = if kind.namespaced { format!("{namespace}/") } else { String::new() };
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}{name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}",
        kind.plural
    );
    Failure::conflict(kind.resource(), name, &why)
}

/// What a write does, in the pipeline's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Create,
    /// Replace what was written at this revision.
    Replace(u64),
    /// The same, where nothing is said but that somebody is alive.
    Beat(u64),
    /// Remove what was written at this revision.
    Remove(u64),
}

/// Tries before somebody who changes quotas all the time is given way.
const RESERVATION_TRIES: usize = 16;

fn write(context: &Context, key: &str, object: &mut dyn Object, goal: Goal) -> Write {
    let template = match context.kind.to_stored(object) {
        Some(mut stored) => Template::new(stored.as_mut()),
        None => Template::new(object),
    };
    let encode = Box::new(move |revision| template.stamp(revision));
    let (expect, change) = match goal {
        Goal::Create => (Expect::Absent, Change::Put(encode)),
        Goal::Replace(revision) | Goal::Beat(revision) => (Expect::Revision(revision), Change::Put(encode)),
        Goal::Remove(revision) => (Expect::Revision(revision), Change::Delete(encode)),
    };
    let durability = match goal {
        Goal::Beat(_) => Durability::Heartbeat,
        _ => context.kind.meta().durability,
    };
    Write { key: Arc::from(key), expect, change, durability }
}

impl Pipeline {
    /// Writes `object` under `key`. The caller turns [`Error::Conflict`] into what it means there.
    pub(crate) async fn commit(
        &self,
        context: &Context,
        key: &str,
        object: &mut dyn Object,
        goal: Goal,
    ) -> std::result::Result<Item, Error> {
        let begun = Instant::now();
        let result = self.store.write(write(context, key, object, goal)).await;
        context.wrote(begun);
        result
    }

    /// Writes `object` and what admission reserves for it, in one commit. `None` where somebody else was faster.
    pub(crate) async fn commit_admitted(
        &self,
        attributes: &Attributes<'_>,
        key: &str,
        object: &mut dyn Object,
        goal: Goal,
    ) -> Result<Option<Item>> {
        for _ in 0..RESERVATION_TRIES {
            // Held until the write is done.
            let mut reserved = match goal {
                Goal::Create | Goal::Replace(_) => self.admission.reserve(attributes, object).await?,
                Goal::Beat(_) | Goal::Remove(_) => Vec::new(),
            };
            let mut writes = vec![write(attributes.context, key, object, goal)];
            writes.extend(reserved.iter_mut().flat_map(|reservation| std::mem::take(&mut reservation.writes)));
            let begun = Instant::now();
            let result = self.store.write_all(writes).await;
            attributes.context.wrote(begun);
            match result {
                Ok(items) => return Ok(items.into_iter().next()),
                Err(Error::Conflict { key: changed, .. }) if *changed == *key => return Ok(None),
                // What the reservation was made on has changed.
                Err(Error::Conflict { .. }) => {}
                Err(error) => return Err(store_failure(&error)),
            }
        }
        Err(Failure::stale(GroupResource { group: "", resource: "resourcequotas" }, &attributes.context.namespace))
    }

    /// The object as read from the store.
    pub(crate) fn load(&self, context: &Context, item: &Item) -> Result<Box<dyn Object>> {
        let decoded = context.kind.decode_stored(&item.value);
        decoded.map_err(|error| Failure::internal(format!("the stored {} cannot be read: {error}", item.key)))
    }

    /// Stored bytes as the request's kind shows them: the same bytes, unless another version is stored.
    pub(crate) fn present(&self, context: &Context, stored: &Bytes) -> Result<Bytes> {
        if context.kind.meta().stored_as.is_none() {
            return Ok(stored.clone());
        }
        let decoded = context.kind.decode_stored(stored).map_err(Failure::internal)?;
        Ok(decoded.to_json().into())
    }

    /// What is stored under the path's name now.
    pub(crate) fn current(&self, context: &Context) -> Result<Item> {
        let missing = || Failure::not_found(context.kind.meta().resource(), &context.name);
        self.store.get(&context.key()).ok_or_else(missing)
    }
}
