//! The engine without a disk: everything is gone with the process. For tests.
//!
//! Keeps all events until they are compacted; durability classes make no difference to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;

use super::hub::Limits;
use super::state::{State, Undo, decide_all};
use super::{Error, Item, ListOptions, Page, Result, Revision, Store, Watch, Write};

pub struct MemoryStore {
    state: RwLock<Inner>,
}

struct Inner {
    state: State,
    closed: bool,
}

impl MemoryStore {
    pub fn new() -> Arc<Self> {
        Self::with_watch_buffer(4096)
    }

    /// A store whose watches are closed when `events` of them wait for a reader.
    pub fn with_watch_buffer(events: usize) -> Arc<Self> {
        let limits = Limits { ring_events: usize::MAX, ring_bytes: usize::MAX, watch_buffer: events };
        let state = State::new(BTreeMap::new(), 0, 0, limits);
        Arc::new(Self { state: RwLock::new(Inner { state, closed: false }) })
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn revision(&self) -> Revision {
        self.state.read().state.revision()
    }

    fn get(&self, key: &str) -> Option<Item> {
        self.state.read().state.get(key).map(|current| current.item)
    }

    async fn list(&self, prefix: &str, options: ListOptions) -> Result<Page> {
        let inner = self.state.read();
        if let Some(at) = options.at {
            inner.state.check(at)?;
        }
        Ok(inner.state.page(prefix, &options, Undo::new()))
    }

    fn count(&self, prefix: &str) -> usize {
        self.state.read().state.count(prefix)
    }

    fn health(&self) -> Result<()> {
        if self.state.read().closed { Err(Error::Closed) } else { Ok(()) }
    }

    async fn write_all(&self, writes: Vec<Write>) -> Result<Vec<Item>> {
        let mut inner = self.state.write();
        if inner.closed {
            return Err(Error::Closed);
        }
        let before = inner.state.revision();
        let commits = decide_all(writes, before, |key| inner.state.get(key))?;
        inner.state.publish(commits.iter(), before + commits.len() as Revision);
        Ok(commits.iter().map(|commit| commit.event.item.clone()).collect())
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        let mut inner = self.state.write();
        if inner.closed {
            return Err(Error::Closed);
        }
        let oldest = inner.state.compacted();
        inner.state.watch(prefix, after)?.ok_or(Error::Compacted { requested: after, oldest })
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        let mut inner = self.state.write();
        let current = inner.state.revision();
        if revision > current {
            return Err(Error::Future { requested: revision, current });
        }
        inner.state.compact(revision);
        inner.state.hub.forget(revision);
        Ok(())
    }

    async fn close(&self) {
        let mut inner = self.state.write();
        inner.closed = true;
        inner.state.hub.close();
    }
}
