//! Reading the past from the log: events that are no longer in memory.
//!
//! Works in bounded steps on its own connection, so that it delays neither the writer nor, by holding
//! a snapshot, the reuse of the write-ahead log. Called by watches and lists that start behind the ring.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction};
use tokio::sync::Mutex;

use super::schema::{error, opened};
use crate::store::seal::Seal;
use crate::store::{Error, Event, EventKind, Item, Result, Revision};

/// Rows looked at and bytes taken in one step.
const STEP_ROWS: usize = 2000;
const STEP_BYTES: usize = 4 << 20;

pub(super) struct History {
    /// `None` when closed.
    db: Arc<Mutex<Option<Connection>>>,
    seal: Arc<dyn Seal>,
}

/// Events under a prefix, complete up to `through`.
pub(super) struct Chapter {
    pub events: Vec<Arc<Event>>,
    pub through: Revision,
}

impl History {
    pub fn new(db: Connection, seal: Arc<dyn Seal>) -> Self {
        Self { db: Arc::new(Mutex::new(Some(db))), seal }
    }

    /// The next events in `(after, until]`; the reader goes on from the chapter's end.
    pub async fn read(&self, prefix: &str, after: Revision, until: Revision) -> Result<Chapter> {
        let (prefix, seal) = (prefix.to_owned(), self.seal.clone());
        let mut db = self.db.clone().lock_owned().await;
        tokio::task::spawn_blocking(move || match db.as_mut() {
            Some(db) => read(db, seal.as_ref(), &prefix, after, until),
            None => Err(Error::Closed),
        })
        .await
        .unwrap_or(Err(Error::Closed))
    }

    pub async fn close(&self) {
        self.db.lock().await.take();
    }
}

fn read(db: &mut Connection, seal: &dyn Seal, prefix: &str, after: Revision, until: Revision) -> Result<Chapter> {
    let tx = db.transaction().map_err(error)?;
    // In the same snapshot as the rows: compaction cannot pull them from under this step.
    let oldest: i64 = tx.query_row("SELECT compacted FROM meta", [], |row| row.get(0)).map_err(error)?;
    if after < oldest as u64 {
        return Err(Error::Compacted { requested: after, oldest: oldest as u64 });
    }
    let mut chapter = Chapter { events: Vec::new(), through: until };
    let mut statement = tx
        .prepare_cached(
            "SELECT revision, key, prev_revision, deleted, value FROM log WHERE revision > ?1 AND revision <= ?2
             ORDER BY revision",
        )
        .map_err(error)?;
    let mut rows = statement.query([after as i64, until as i64]).map_err(error)?;
    let (mut seen, mut bytes) = (0, 0);
    while let Some(row) = rows.next().map_err(error)? {
        let revision = row.get::<_, i64>(0).map_err(error)? as Revision;
        let key = row.get_ref(1).and_then(|key| Ok(key.as_str()?)).map_err(error)?;
        if key.starts_with(prefix) {
            let stored = row.get_ref(4).and_then(|value| Ok(value.as_blob()?)).map_err(error)?;
            let value = opened(seal, key, stored)?;
            let previous = previous(&tx, seal, key, row.get(2).map_err(error)?)?;
            bytes += value.len() + previous.as_ref().map_or(0, |(_, value)| value.len());
            let deleted = row.get::<_, bool>(3).map_err(error)?;
            chapter.events.push(Arc::new(event(key, revision, value, previous, deleted)));
        }
        seen += 1;
        if seen >= STEP_ROWS || bytes >= STEP_BYTES {
            chapter.through = revision;
            break;
        }
    }
    Ok(chapter)
}

fn event(key: &str, revision: Revision, value: Bytes, previous: Option<(Revision, Bytes)>, deleted: bool) -> Event {
    let key: Arc<str> = key.into();
    let kind = match &previous {
        _ if deleted => EventKind::Deleted,
        Some(_) => EventKind::Updated,
        None => EventKind::Created,
    };
    let previous = previous.map(|(revision, value)| Item { key: key.clone(), value, revision });
    Event { kind, item: Item { key, value, revision }, previous }
}

fn previous(tx: &Transaction, seal: &dyn Seal, key: &str, revision: i64) -> Result<Option<(Revision, Bytes)>> {
    if revision == 0 {
        return Ok(None);
    }
    let mut statement = tx.prepare_cached("SELECT value FROM log WHERE revision = ?1").map_err(error)?;
    match statement.query_row([revision], |row| Ok(row.get_ref(0)?.as_blob()?.to_vec())).optional() {
        Ok(Some(stored)) => Ok(Some((revision as Revision, opened(seal, key, &stored)?))),
        Ok(None) => Err(Error::Corrupt(format!("revision {revision} is missing from the log"))),
        Err(failure) => Err(error(failure)),
    }
}
