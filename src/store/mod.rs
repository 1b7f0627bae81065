//! Where the cluster's state is kept: keys, bytes and revisions, never kinds.
//!
//! *Guarantees.* Revisions are one rising sequence that never repeats, not even after a power cut.
//! A durable write is acknowledged only when it would survive one. Watches see every committed
//! write of their range exactly once, in order, and only after it is durable (of the relaxed class:
//! after it is acknowledged). A reader that falls behind is closed with [`Error::Compacted`]; events are never skipped.
//!
//! *Keys* are `/registry/<group>/<plural>/<namespace>/<name>`-like text, but only their order and
//! their prefixes mean anything here.

#[cfg(test)]
mod contract;
mod hub;
pub mod memory;
pub mod seal;
pub mod sqlite;
mod state;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

pub type Revision = u64;
pub type Result<T> = std::result::Result<T, Error>;

/// A stored value and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: Arc<str>,
    pub value: Bytes,
    pub revision: Revision,
}

/// Gives the bytes to store, once the store has assigned the revision.
pub type Encode = Box<dyn FnOnce(Revision) -> Bytes + Send>;

/// What must hold of the key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key's value was written at exactly this revision.
    Revision(Revision),
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After fsync.
    Durable,
    /// At once; it reaches the disk with the next durable commit or within seconds. For Events.
    Relaxed,
    /// At once; it reaches the disk with the next other write or within the hour, and of several that follow
    /// each other on a key only the newest does: a watch resumed from further back than memory goes, or after
    /// a restart, may see just that one. For writes that say nothing but that somebody is alive, so that an
    /// idle cluster leaves its disk alone.
    Heartbeat,
}

/// Create, update or delete of one key.
pub struct Write {
    pub key: Arc<str>,
    pub expect: Expect,
    pub change: Change,
    pub durability: Durability,
}

pub enum Change {
    Put(Encode),
    /// The last state, with the revision of the deletion, for watchers.
    Delete(Encode),
}

/// One committed write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    /// After the write; for a deletion the final state.
    pub item: Item,
    /// Before the write; `None` for a creation.
    pub previous: Option<Item>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Updated,
    Deleted,
}

/// What is to be listed.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only keys greater than this one (a continue token's).
    pub after: Option<String>,
    /// At most so many items; 0 is no limit.
    pub limit: usize,
    /// The state at this revision instead of now.
    pub at: Option<Revision>,
}

/// Items in key order, as of one revision.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub items: Vec<Item>,
    /// The store's revision this page shows (not the newest item's).
    pub revision: Revision,
    /// How many matching keys come after the last item.
    pub remaining: usize,
}

/// An open watch. Ends with an `Err` when its reader fell behind or history was compacted under it.
pub struct Watch {
    pub events: mpsc::Receiver<Result<Arc<Event>>>,
}

/// What went wrong, whichever engine it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The expectation for `key` did not hold; `current` is what is there instead.
    #[error("the key was changed by somebody else")]
    Conflict { key: Arc<str>, current: Option<Item> },
    /// `requested` is older than the history kept.
    #[error("revision {requested} has been compacted; the oldest kept is {oldest}")]
    Compacted { requested: Revision, oldest: Revision },
    /// A revision that does not exist yet.
    #[error("revision {requested} is in the future; the current one is {current}")]
    Future { requested: Revision, current: Revision },
    /// The engine cannot write now (disk full, read-only, I/O error); nothing was changed, and a later try may succeed.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
    /// The data on disk cannot be trusted.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    #[error("the store is closed")]
    Closed,
}

/// A store engine. Reads never wait for a disk unless they ask for a past revision.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest revision that readers may see. Every event up to it is already in the buffers of the
    /// watches it concerns, so a watcher that read this and then emptied its buffer is up to date.
    fn revision(&self) -> Revision;

    /// The current value of a key.
    fn get(&self, key: &str) -> Option<Item>;

    /// The items whose keys begin with `prefix`.
    async fn list(&self, prefix: &str, options: ListOptions) -> Result<Page>;

    /// How many keys begin with `prefix` now.
    fn count(&self, prefix: &str) -> usize;

    /// Bytes that it takes on the disk, where it has one.
    fn size(&self) -> Option<u64> {
        None
    }

    /// Whether the last transaction that was tried reached the disk; its error where it did not.
    fn health(&self) -> Result<()>;

    /// Commits one write and gives what is stored now (for a deletion: the final state).
    async fn write(&self, write: Write) -> Result<Item> {
        self.write_all(vec![write]).await?.pop().ok_or(Error::Closed)
    }

    /// Commits several writes as one: all of them or, where one expectation does not hold, none. Nobody sees a part.
    /// They are as durable as the most durable of them, and gives what is stored now of each.
    async fn write_all(&self, writes: Vec<Write>) -> Result<Vec<Item>>;

    /// Every event under `prefix` with a revision greater than `after`, then those to come.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch>;

    /// Forgets history up to `revision`; current values stay. Bounded work per call and always progress.
    async fn compact(&self, revision: Revision) -> Result<()>;

    /// Makes everything acknowledged durable and stops the engine. Later writes fail with [`Error::Closed`].
    async fn close(&self);
}
