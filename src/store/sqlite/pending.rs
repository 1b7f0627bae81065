//! Writes that were acknowledged and are not on disk yet, in the order of their revisions.
//!
//! Of heartbeats of one key that follow each other only the newest is kept: its row says that it follows
//! what the first of them followed, so the history on disk has no hole. Used by the [`writer`](super::writer) only.

use std::collections::BTreeMap;

use crate::store::state::Commit;
use crate::store::{Durability, EventKind, Revision};

/// A commit as a row of the log.
pub(super) struct Row {
    pub commit: Commit,
    /// The revision of the key's row before this one; 0 where there is none.
    pub previous: Revision,
    /// Says nothing that a newer one of the same key does not say as well.
    pub heartbeat: bool,
}

impl Row {
    pub fn new(commit: Commit, durability: Durability) -> Self {
        let previous = commit.event.previous.as_ref().map_or(0, |item| item.revision);
        // A creation is news, whatever it is called.
        let heartbeat = durability == Durability::Heartbeat && commit.event.kind == EventKind::Updated;
        Self { commit, previous, heartbeat }
    }

    fn revision(&self) -> Revision {
        self.commit.event.item.revision
    }
}

#[derive(Default)]
pub(super) struct Pending(BTreeMap<Revision, Row>);

impl Pending {
    /// Revisions must rise.
    pub fn push(&mut self, mut row: Row) {
        if row.heartbeat && self.0.get(&row.previous).is_some_and(|last| last.heartbeat) {
            row.previous = self.0.remove(&row.previous).map_or(row.previous, |last| last.previous);
        }
        self.0.insert(row.revision(), row);
    }

    /// The oldest revision that waits.
    pub fn first(&self) -> Option<Revision> {
        self.0.first_key_value().map(|(revision, _)| *revision)
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.values()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
