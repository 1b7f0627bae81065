//! What the writer does beside writing: forgetting old history and giving space back to the file system.
//!
//! Everything in bounded steps between two batches, so that writes wait for a step at most. The writer
//! is woken for it only when something is due; a store in which nothing changes sleeps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rusqlite::Transaction;

use super::pending::Row;
use super::schema::error;
use super::writer::Writer;
use crate::store::{Error, EventKind, Result, Revision};

/// Rows of the log looked at in one step of compaction.
const STEP_ROWS: i64 = 500;
/// Pages given back in one step (1 MiB).
const STEP_PAGES: i64 = 256;
/// Free pages that are kept for reuse (4 MiB).
const SPARE_PAGES: i64 = 1024;
/// After a failure (a full disk) the next try waits so long.
const RETRY: Duration = Duration::from_secs(10);

/// When history grows old.
pub(super) struct Maintenance {
    /// How long history is kept; `None` is for ever.
    keep: Option<Duration>,
    /// Rows that have to be forgettable before it is worth a write.
    threshold: u64,
    /// `(when, last revision, superseded rows)` of spans of history, oldest first.
    spans: VecDeque<(Instant, Revision, u64)>,
    /// Compaction or reclaim that is under way.
    target: Option<Revision>,
    reclaiming: bool,
    not_before: Option<Instant>,
}

impl Maintenance {
    pub fn new(keep: Option<Duration>, threshold: u64, revision: Revision, superseded: u64) -> Self {
        let spans = VecDeque::from([(Instant::now(), revision, superseded)]);
        Self { keep, threshold, spans, target: None, reclaiming: false, not_before: None }
    }

    /// Counts what the commits left to forget.
    pub fn wrote<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        let Some(keep) = self.keep else { return };
        let (mut last, mut superseded) = (0, 0);
        for Row { commit, previous, .. } in rows {
            let event = &commit.event;
            last = event.item.revision;
            superseded += u64::from(*previous > 0) + u64::from(event.kind == EventKind::Deleted);
        }
        if superseded == 0 {
            return;
        }
        let now = Instant::now();
        match self.spans.back_mut() {
            // A span is forgotten as a whole, a tenth later than it might be.
            Some((begun, revision, count)) if now.duration_since(*begun) < keep / 10 => {
                *revision = last;
                *count += superseded;
            }
            _ => self.spans.push_back((now, last, superseded)),
        }
    }

    /// When the writer has to be woken.
    pub fn deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = if self.target.is_some() || self.reclaiming { Some(now) } else { self.due() };
        due.map(|due| self.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    /// When enough of the history is old enough.
    fn due(&self) -> Option<Instant> {
        let keep = self.keep?;
        let mut sum = 0;
        let (begun, ..) = self.spans.iter().find(|(_, _, count)| {
            sum += count;
            sum >= self.threshold
        })?;
        Some(*begun + keep + keep / 10)
    }

    fn begin(&mut self, now: Instant) {
        let Some(keep) = self.keep else { return };
        while let Some((_, revision, _)) = self.spans.front().filter(|(begun, ..)| *begun + keep + keep / 10 <= now) {
            self.target = self.target.max(Some(*revision));
            self.spans.pop_front();
        }
    }
}

impl Writer {
    /// One step of what is due, if anything is.
    pub fn maintain(&mut self, now: Instant) {
        if self.maintenance.not_before.is_some_and(|at| now < at) {
            return;
        }
        self.maintenance.not_before = None;
        if self.maintenance.target.is_none() && self.maintenance.due().is_some_and(|due| due <= now) {
            self.maintenance.begin(now);
        }
        let outcome = match self.maintenance.target {
            Some(target) => self.compact(target).map(|_| ()),
            None if self.maintenance.reclaiming => self.reclaim(),
            None => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "compaction failed and will be tried again");
            self.maintenance.not_before = Some(now + RETRY);
        }
    }

    /// One step towards `target`; true when there.
    pub fn compact(&mut self, target: Revision) -> Result<bool> {
        let (current, compacted) = {
            let state = self.shared.state.read();
            (state.revision(), state.compacted())
        };
        if target > current {
            return Err(Error::Future { requested: target, current });
        }
        let through = if target > compacted {
            let through = self.transaction(&[], |tx| forget(tx, compacted, target).map_err(error))?;
            self.shared.state.write().compact(through);
            self.maintenance.reclaiming = true;
            through
        } else {
            compacted
        };
        if self.maintenance.target.is_some_and(|target| target <= through) {
            self.maintenance.target = None;
        }
        Ok(through >= target)
    }

    fn reclaim(&mut self) -> Result<()> {
        let free: i64 = self.db.query_row("PRAGMA freelist_count", [], |row| row.get(0)).map_err(error)?;
        if free <= SPARE_PAGES {
            self.maintenance.reclaiming = false;
            return Ok(());
        }
        let pages = STEP_PAGES.min(free - SPARE_PAGES);
        // The pragma does its work while its rows are read.
        let mut statement = self.db.prepare(&format!("PRAGMA incremental_vacuum({pages})")).map_err(error)?;
        let mut rows = statement.query([]).map_err(error)?;
        while rows.next().map_err(error)?.is_some() {}
        Ok(())
    }
}

/// Forgets what no revision from the returned one on needs: what a later row up to there replaced, and
/// deletions. The newest row of a key that exists is never touched.
fn forget(tx: &Transaction, compacted: Revision, target: Revision) -> rusqlite::Result<Revision> {
    let (compacted, target) = (compacted as i64, target as i64);
    let mut through = target;
    let mut doomed = Vec::new();
    let mut rows = tx.prepare_cached(
        "SELECT revision, prev_revision, deleted FROM log WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3",
    )?;
    let mut rows = rows.query([compacted, target, STEP_ROWS])?;
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let (revision, previous): (i64, i64) = (row.get(0)?, row.get(1)?);
        if previous > 0 {
            doomed.push(previous);
        }
        if row.get(2)? {
            doomed.push(revision);
        }
        seen += 1;
        if seen == STEP_ROWS {
            through = revision;
        }
    }
    let mut delete = tx.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
    for revision in doomed {
        delete.execute([revision])?;
    }
    tx.prepare_cached("UPDATE meta SET compacted = ?1")?.execute([through])?;
    tx.prepare_cached("DELETE FROM gap WHERE until <= ?1")?.execute([through])?;
    Ok(through as Revision)
}
