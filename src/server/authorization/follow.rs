//! An index over some kinds that is never older than the store.
//!
//! Whoever asks compares the store's revision with what the index has seen, and takes in what its
//! watches hold before it answers: an acknowledged write is seen by the next question, without a
//! task and without waiting. A watch that was overrun is replaced by a new list.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio::sync::mpsc::error::TryRecvError;

use crate::store::{Error, EventKind, Item, ListOptions, Result, Revision, Store, Watch};

/// What is derived from objects, kept up to date one object at a time.
pub trait Index: Default + Send + Sync + 'static {
    /// Every key of these ranges is shown to [`Self::put`] and [`Self::remove`].
    const PREFIXES: &'static [&'static str];

    /// An object was created or changed.
    fn put(&mut self, item: &Item);
    fn remove(&mut self, key: &str);
}

pub struct Follower<I> {
    store: Arc<dyn Store>,
    index: RwLock<I>,
    /// The index holds every write up to this revision.
    seen: AtomicU64,
    /// Empty before the first question, and after a watch was lost.
    watches: Mutex<Vec<Watch>>,
}

/// A watch can no longer tell what happened.
struct Lost;

impl<I: Index> Follower<I> {
    /// Reads nothing until it is asked.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, index: RwLock::default(), seen: AtomicU64::new(0), watches: Mutex::default() }
    }

    /// What `ask` finds in an index that holds every acknowledged write.
    pub async fn ask<T>(&self, ask: impl FnOnce(&I) -> T) -> Result<T> {
        let current = self.store.revision();
        if self.seen.load(Ordering::Acquire) < current {
            self.catch_up(current).await?;
        }
        Ok(ask(&self.index.read()))
    }

    async fn catch_up(&self, current: Revision) -> Result<()> {
        let mut watches = self.watches.lock().await;
        if self.seen.load(Ordering::Acquire) >= current {
            return Ok(());
        }
        // Everything up to this revision is in the watches' buffers by now: the store promises it.
        let current = self.store.revision();
        if watches.is_empty() || self.drain(&mut watches).is_err() {
            watches.clear();
            let (opened, current) = self.begin().await?;
            *watches = opened;
            self.seen.store(current, Ordering::Release);
            return Ok(());
        }
        self.seen.store(current, Ordering::Release);
        Ok(())
    }

    fn drain(&self, watches: &mut [Watch]) -> std::result::Result<(), Lost> {
        for watch in watches {
            loop {
                match watch.events.try_recv() {
                    Ok(Ok(event)) => match event.kind {
                        EventKind::Deleted => self.index.write().remove(&event.item.key),
                        EventKind::Created | EventKind::Updated => self.index.write().put(&event.item),
                    },
                    Err(TryRecvError::Empty) => break,
                    Ok(Err(_)) | Err(TryRecvError::Disconnected) => return Err(Lost),
                }
            }
        }
        Ok(())
    }

    /// A new index and the watches that go on from it.
    async fn begin(&self) -> Result<(Vec<Watch>, Revision)> {
        let mut index = I::default();
        let at = self.store.revision();
        let mut watches = Vec::new();
        for prefix in I::PREFIXES {
            let page = self.store.list(prefix, ListOptions { at: Some(at), ..ListOptions::default() }).await?;
            page.items.iter().for_each(|item| index.put(item));
            watches.push(self.store.watch(prefix, at).await?);
        }
        *self.index.write() = index;
        self.drain(&mut watches).map_err(|Lost| Error::Closed)?;
        Ok((watches, at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Change, Durability, Expect, Write};

    #[derive(Default)]
    struct Keys(BTreeMap<String, Bytes>);

    impl Index for Keys {
        const PREFIXES: &'static [&'static str] = &["/a/", "/b/"];
        fn put(&mut self, item: &Item) {
            self.0.insert(item.key.to_string(), item.value.clone());
        }
        fn remove(&mut self, key: &str) {
            self.0.remove(key);
        }
    }

    async fn write(store: &dyn Store, key: &str, expect: Expect, change: Change) -> Revision {
        let write = Write { key: key.into(), expect, change, durability: Durability::Durable };
        store.write(write).await.unwrap().revision
    }

    fn put() -> Change {
        Change::Put(Box::new(|revision| revision.to_string().into()))
    }

    #[tokio::test]
    async fn every_acknowledged_write_is_seen() {
        // Three events fit into a watch: four at once overrun it.
        for burst in [1, 3, 4, 9] {
            let store = MemoryStore::with_watch_buffer(3);
            write(&*store, "/a/before", Expect::Absent, put()).await;
            let follower = Follower::<Keys>::new(store.clone());
            assert_eq!(follower.ask(|keys| keys.0.len()).await.unwrap(), 1);
            for at in 0..burst {
                write(&*store, &format!("/b/{at}"), Expect::Absent, put()).await;
                write(&*store, &format!("/other/{at}"), Expect::Absent, put()).await;
            }
            let found = follower.ask(|keys| keys.0.keys().cloned().collect::<Vec<_>>()).await.unwrap();
            assert_eq!(found.len(), burst + 1, "{found:?}");
            let at = store.get("/a/before").unwrap().revision;
            let gone = Change::Delete(Box::new(|_| Bytes::new()));
            write(&*store, "/a/before", Expect::Revision(at), gone).await;
            assert_eq!(follower.ask(|keys| keys.0.len()).await.unwrap(), burst);
        }
    }

    #[tokio::test]
    async fn a_closed_store_is_an_error() {
        let store = MemoryStore::new();
        write(&*store, "/a/x", Expect::Absent, put()).await;
        store.close().await;
        assert!(Follower::<Keys>::new(store).ask(|_| ()).await.is_err());
    }
}
