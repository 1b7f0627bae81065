//! What both engines keep in memory: the current value of every key, the recent events and the open watches.
//!
//! One lock guards all three, so a reader that saw a revision finds everything up to it, and a watch
//! starts exactly where its list ended. Never touches a disk and never decides when a write is
//! durable; the engines do, and call [`State::publish`] when a write may be seen.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::hub::{Hub, Limits};
use super::{Change, Error, Event, EventKind, Expect, Item, ListOptions, Page, Result, Revision, Watch, Write};

/// The current value of a key. The key itself is the map's, shared with the events about it.
pub(super) struct Entry {
    pub value: Bytes,
    pub revision: Revision,
    pub created: Revision,
}

/// A decided write that has its revision.
#[derive(Clone)]
pub(super) struct Commit {
    pub event: Arc<Event>,
    /// The revision at which the key came into being.
    pub created: Revision,
}

/// An item and the revision that created its key.
#[derive(Clone)]
pub(super) struct Current {
    pub item: Item,
    pub created: Revision,
}

impl Commit {
    /// What the key holds after this write.
    pub fn current(&self) -> Option<Current> {
        (self.event.kind != EventKind::Deleted)
            .then(|| Current { item: self.event.item.clone(), created: self.created })
    }
}

/// Revisions between `after` and `until` (both exclusive) may have been seen by readers and were lost
/// with the relaxed writes of a power cut; who stopped reading there has to start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub after: Revision,
    pub until: Revision,
}

/// Values as they were at an older revision, for the keys that changed since; `None` where the key did not exist.
pub(super) type Undo = BTreeMap<Arc<str>, Option<Item>>;

pub(super) struct State {
    index: BTreeMap<Arc<str>, Entry>,
    pub hub: Hub,
    revision: Revision,
    compacted: Revision,
    gaps: Vec<Gap>,
}

impl State {
    pub fn new(index: BTreeMap<Arc<str>, Entry>, revision: Revision, compacted: Revision, limits: Limits) -> Self {
        Self { index, hub: Hub::new(limits, revision), revision, compacted, gaps: Vec::new() }
    }

    pub fn with_gaps(mut self, gaps: Vec<Gap>) -> Self {
        self.gaps = gaps;
        self
    }

    pub fn revision(&self) -> Revision {
        self.revision
    }

    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    pub fn get(&self, key: &str) -> Option<Current> {
        let (key, entry) = self.index.get_key_value(key)?;
        let item = Item { key: key.clone(), value: entry.value.clone(), revision: entry.revision };
        Some(Current { item, created: entry.created })
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn count(&self, prefix: &str) -> usize {
        self.range(prefix, None).count()
    }

    /// Whether a reader may continue from `revision`.
    pub fn check(&self, revision: Revision) -> Result<()> {
        if revision > self.revision {
            return Err(Error::Future { requested: revision, current: self.revision });
        }
        if revision < self.compacted {
            return Err(Error::Compacted { requested: revision, oldest: self.compacted });
        }
        match self.gaps.iter().find(|gap| gap.after < revision && revision < gap.until) {
            Some(gap) => Err(Error::Compacted { requested: revision, oldest: gap.until }),
            None => Ok(()),
        }
    }

    /// The items under `prefix` as of `at`, where `undo` tells what the recent events do not: the changes in
    /// `(at, self.hub.floor()]`.
    pub fn page(&self, prefix: &str, options: &ListOptions, mut undo: Undo) -> Page {
        let at = options.at.unwrap_or(self.revision);
        if at < self.revision {
            for event in self.hub.since(prefix, at) {
                undo.entry(event.item.key.clone()).or_insert_with(|| event.previous.clone());
            }
        }
        let after = options.after.as_deref();
        let mut items = Merge {
            current: self.range(prefix, after).peekable(),
            past: undo.range::<str, _>((start(prefix, after), Bound::Unbounded)).peekable(),
            undo: &undo,
        };
        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let mut page = Page { revision: at, ..Page::default() };
        while page.items.len() < limit {
            let Some((key, value, revision)) = items.next() else { break };
            page.items.push(Item { key: key.clone(), value: value.clone(), revision });
        }
        page.remaining = items.count();
        page
    }

    /// Makes the commits visible to readers and watches. `durable`: everything up to it is on disk.
    pub fn publish<'a>(&mut self, commits: impl Iterator<Item = &'a Commit> + Clone, durable: Revision) {
        for Commit { event, created } in commits.clone() {
            let item = &event.item;
            self.revision = item.revision;
            if event.kind == EventKind::Deleted {
                self.index.remove(&item.key);
            } else {
                let entry = Entry { value: item.value.clone(), revision: item.revision, created: *created };
                self.index.insert(item.key.clone(), entry);
            }
        }
        self.hub.publish(commits.map(|commit| &commit.event), durable);
    }

    /// A watch served from the recent events; `None` when they do not reach back to `after`.
    pub fn watch(&mut self, prefix: &str, after: Revision) -> Result<Option<Watch>> {
        self.check(after)?;
        Ok(self.hub.watch(prefix, after))
    }

    /// Refuses readers older than `revision` from now on.
    pub fn compact(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision);
        self.gaps.retain(|gap| gap.until > revision);
    }

    fn range(&self, prefix: &str, after: Option<&str>) -> impl Iterator<Item = (&Arc<str>, &Entry)> {
        let prefix: Arc<str> = prefix.into();
        self.index
            .range::<str, _>((start(&prefix, after), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(&*prefix))
    }
}

fn start<'a>(prefix: &'a str, after: Option<&'a str>) -> Bound<&'a str> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    }
}

/// Current entries and undone ones, in key order. `undo` holds only keys of the prefix.
struct Merge<'a, I: Iterator<Item = (&'a Arc<str>, &'a Entry)>> {
    current: Peekable<I>,
    past: Peekable<btree_map::Range<'a, Arc<str>, Option<Item>>>,
    undo: &'a Undo,
}

impl<'a, I: Iterator<Item = (&'a Arc<str>, &'a Entry)>> Iterator for Merge<'a, I> {
    type Item = (&'a Arc<str>, &'a Bytes, Revision);

    fn next(&mut self) -> Option<Self::Item> {
        while self.current.next_if(|(key, _)| self.undo.contains_key(*key)).is_some() {}
        while self.past.next_if(|(_, item)| item.is_none()).is_some() {}
        let past = self.past.peek().and_then(|(_, item)| item.as_ref());
        match (self.current.peek(), past) {
            (Some((key, _)), Some(item)) if **key < item.key => {}
            (_, Some(item)) => {
                self.past.next();
                return Some((&item.key, &item.value, item.revision));
            }
            _ => {}
        }
        self.current.next().map(|(key, entry)| (key, &entry.value, entry.revision))
    }
}

/// Decides writes that belong together, one after another, against what their keys hold: all of them or none.
/// `before` is the last revision given.
pub(super) fn decide_all(
    writes: Vec<Write>,
    before: Revision,
    current: impl Fn(&str) -> Option<Current>,
) -> Result<Vec<Commit>> {
    let mut commits: Vec<Commit> = Vec::with_capacity(writes.len());
    for (write, revision) in writes.into_iter().zip(before + 1..) {
        let earlier = commits.iter().rev().find(|commit| commit.event.item.key == write.key);
        let current = earlier.map_or_else(|| current(&write.key), Commit::current);
        commits.push(decide(write, current, revision)?);
    }
    Ok(commits)
}

/// Decides a write against what its key holds. Nothing is encoded unless the expectation holds.
fn decide(write: Write, current: Option<Current>, revision: Revision) -> Result<Commit> {
    let met = match (write.expect, &current) {
        (Expect::Absent, None) => matches!(write.change, Change::Put(_)),
        (Expect::Revision(expected), Some(current)) => current.item.revision == expected,
        _ => false,
    };
    if !met {
        return Err(Error::Conflict { key: write.key, current: current.map(|current| current.item) });
    }
    let (kind, encode) = match write.change {
        Change::Put(encode) if current.is_none() => (EventKind::Created, encode),
        Change::Put(encode) => (EventKind::Updated, encode),
        Change::Delete(encode) => (EventKind::Deleted, encode),
    };
    let value = exact(encode(revision));
    let (key, created) = match &current {
        Some(current) => (current.item.key.clone(), current.created),
        None => (write.key, revision),
    };
    let event = Event { kind, item: Item { key, value, revision }, previous: current.map(|current| current.item) };
    Ok(Commit { event: Arc::new(event), created })
}

/// Drops spare capacity: serializers double their buffers, and these bytes stay in memory.
fn exact(value: Bytes) -> Bytes {
    Bytes::from(Vec::from(value).into_boxed_slice())
}
