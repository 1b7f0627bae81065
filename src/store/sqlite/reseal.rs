//! Bringing what lies on the disk under the newest key: in bounded steps between two batches, in place, so that no
//! revision changes and no watcher notices.

use rusqlite::Transaction;

use super::SqliteStore;
use super::schema::error;
use super::writer::{Command, Writer};
use crate::store::seal::Seal;
use crate::store::{Error, Result, Revision};

/// Rows looked at in one step.
const STEP_ROWS: i64 = 500;

/// How far a step came, and how many rows it wrote anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// `None` at the end of the log.
    through: Option<Revision>,
    rewritten: usize,
}

impl SqliteStore {
    /// Seals every value of the log, the history too, as [`Seal::seal`] does today, and wipes what lay there before
    /// from the file. Tells how many were written anew. May be called again after a failure; nothing is lost by one.
    pub async fn reseal(&self) -> Result<usize> {
        let (mut after, mut rewritten) = (0, 0);
        loop {
            let step = self.ask(|reply| Command::Reseal(after, reply)).await?;
            rewritten += step.rewritten;
            match step.through {
                Some(through) => after = through,
                None => break,
            }
        }
        if rewritten > 0 {
            self.ask(Command::Wipe).await?;
        }
        Ok(rewritten)
    }
}

impl Writer {
    pub(super) fn reseal(&mut self, after: Revision) -> Result<Step> {
        let seal = self.shared.seal.clone();
        self.transaction(&[], |tx| step(tx, seal.as_ref(), after))
    }

    /// Rewrites the file, so that no free page of it and no old frame of the log holds what was open before.
    pub(super) fn wipe(&mut self) -> Result<()> {
        self.flush();
        self.db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").map_err(error)
    }
}

fn step(tx: &Transaction, seal: &dyn Seal, after: Revision) -> Result<Step> {
    let mut select = tx
        .prepare_cached("SELECT revision, key, value FROM log WHERE revision > ?1 ORDER BY revision LIMIT ?2")
        .map_err(error)?;
    let mut update = tx.prepare_cached("UPDATE log SET value = ?2 WHERE revision = ?1").map_err(error)?;
    let mut rows = select.query([after as i64, STEP_ROWS]).map_err(error)?;
    let (mut seen, mut stale) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next().map_err(error)? {
        let revision: i64 = row.get(0).map_err(error)?;
        let key = row.get_ref(1).and_then(|key| Ok(key.as_str()?)).map_err(error)?;
        let stored = row.get_ref(2).and_then(|value| Ok(value.as_blob()?)).map_err(error)?;
        seen.push(revision);
        if !seal.is_current(key, stored) {
            let open = seal.open(key, stored).map_err(Error::Corrupt)?.unwrap_or_else(|| stored.to_vec());
            let sealed = seal.seal(key, &open).map_err(Error::Unavailable)?.unwrap_or(open);
            stale.push((revision, sealed));
        }
    }
    for (revision, value) in &stale {
        update.execute((revision, value)).map_err(error)?;
    }
    let full = seen.len() as i64 == STEP_ROWS;
    let through = seen.last().filter(|_| full).map(|revision| *revision as Revision);
    Ok(Step { through, rewritten: stale.len() })
}
