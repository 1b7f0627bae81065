//! Documents once made: compressed, with the hash of their content.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::document::{self, Root};
use super::{gnostic, v2};
use crate::api::status::{Failure, Result};
use crate::server::http::metrics::Burst;
use crate::server::http::{cached, gzip};

/// One document in one form.
pub struct Document {
    pub gzip: Bytes,
    /// Of the content before compression.
    pub hash: String,
}

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    V3(Root),
    V2,
    V2Protobuf,
}

impl Which {
    fn content(&self) -> Result<Vec<u8>> {
        let document = match self {
            Self::V3(root) => document::v3(root),
            Self::V2 => v2::document(),
            Self::V2Protobuf => return Ok(gnostic::encode(&v2::document())),
        };
        serde_json::to_vec(&document).map_err(Failure::internal)
    }
}

/// The documents that somebody asked for. As many as there are groups and versions, at most.
pub struct Kept {
    documents: Mutex<HashMap<Which, Arc<OnceCell<Arc<Document>>>>>,
    hashes: OnceCell<Vec<(String, String)>>,
    /// What is made leaves tens of megabytes behind.
    burst: Arc<Burst>,
}

impl Kept {
    pub fn new(burst: Arc<Burst>) -> Self {
        Self { documents: Mutex::default(), hashes: OnceCell::new(), burst }
    }

    /// The document; made now where nobody asked before.
    pub async fn get(&self, which: &Which) -> Result<Arc<Document>> {
        let cell = self.documents.lock().entry(which.clone()).or_default().clone();
        let document = cell.get_or_try_init(|| {
            let which = which.clone();
            self.aside(move || {
                let content = which.content()?;
                let hash = cached::hash(&content);
                let gzip = gzip::compress(&content, Compression::default()).map_err(Failure::internal)?;
                Ok(Arc::new(Document { gzip, hash }))
            })
        });
        document.await.cloned()
    }

    /// Path and hash of every v3 document. They are made to be hashed, one after the other, and not kept.
    pub async fn hashes(&self) -> Result<&[(String, String)]> {
        let hashes = self.hashes.get_or_try_init(|| {
            self.aside(|| {
                let hash = |(path, root)| Ok((path, cached::hash(&Which::V3(root).content()?)));
                document::roots().into_iter().map(hash).collect()
            })
        });
        hashes.await.map(Vec::as_slice)
    }

    /// Work of some tens of milliseconds, where it keeps nobody else waiting.
    async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let done = tokio::task::spawn_blocking(work).await.map_err(Failure::internal)?;
        self.burst.heavy();
        done
    }
}
