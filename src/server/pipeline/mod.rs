//! What happens to a request for objects, written once for every kind.
//!
//! The order: (authenticated and authorized by `http`) → decode → default → mutating admission →
//! default → generated name → prepare → validate → validating admission → compare-and-swap. One verb, one file.
//! Knows nothing of HTTP: callers hand over a [`Context`], a [`Payload`] and options, and get stored bytes.

pub mod apply;
pub mod commit;
pub mod context;
mod continue_token;
pub mod create;
pub mod decode;
pub mod delete;
pub mod delete_collection;
mod fresh;
pub mod get;
pub mod go_error;
pub mod list;
mod managed;
pub mod meta;
pub mod modify;
pub mod options;
mod owners;
pub mod parts;
pub mod patch;
pub mod query;
pub mod random;
pub mod reader;
pub mod scale;
pub mod selection;
pub mod services;
pub mod strict;
pub mod update;
pub mod user;
pub mod watch;
pub mod yaml;

use std::sync::Arc;

use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::admission::{Attributes, Chain, Operation};
use crate::store::Store;

pub use context::{Context, KindRef};
pub use decode::{Media, Payload};
pub use reader::Reader;
pub use services::ServiceRanges;
use services::Services;

/// The engine behind every resource path.
pub struct Pipeline {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) admission: Chain,
    pub(crate) services: Services,
}

impl Pipeline {
    pub fn new(store: Arc<dyn Store>, admission: Chain, ranges: ServiceRanges) -> Self {
        Self { store, admission, services: Services::new(ranges) }
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Mutating and validating admission for what is created under an object without being stored: a
    /// TokenRequest, an Eviction.
    ///
    /// # Errors
    /// The first plugin's that refuses.
    pub async fn admit_created(&self, context: &Context, object: &mut dyn Object, dry_run: bool) -> Result<()> {
        let reader = self.reader();
        let attributes = Attributes { context, operation: Operation::Create, old: None, dry_run, reader };
        self.admission.admit(&attributes, object).await?;
        self.admission.validate(&attributes, Some(object)).await
    }

    /// Typed reads of current objects, for admission and subresources.
    pub fn reader(&self) -> Reader<'_> {
        Reader::new(self.store.as_ref())
    }
}

/// The answer to a request that concerns one object.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, 201 or 202.
    pub code: u16,
    /// JSON of the object (or of a Status).
    pub bytes: bytes::Bytes,
    /// What the bytes are.
    pub what: What,
}

/// Which kind of object an [`Answer`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// An object of the request's kind.
    Object,
    /// What a `/scale` shows.
    Scale,
    /// A `metav1.Status`: never a table.
    Status,
}

impl Answer {
    pub fn object(code: u16, bytes: impl Into<bytes::Bytes>) -> Self {
        Self { code, bytes: bytes.into(), what: What::Object }
    }
    pub fn scale(bytes: impl Into<bytes::Bytes>) -> Self {
        Self { code: 200, bytes: bytes.into(), what: What::Scale }
    }
    pub fn status(bytes: impl Into<bytes::Bytes>) -> Self {
        Self { code: 200, bytes: bytes.into(), what: What::Status }
    }
}
