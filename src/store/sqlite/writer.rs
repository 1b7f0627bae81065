//! The one thread that writes. It decides compare-and-swap, commits what is waiting in one
//! transaction with one fsync, then publishes, then acknowledges.
//!
//! Relaxed writes and heartbeats are published at once and kept in `pending` until the next transaction takes
//! them along, or the flush timer does. They are acknowledged at once only if no durable write of
//! the same batch comes before them, so nobody sees a write before an earlier one. After a failed
//! commit memory is what the disk holds plus `pending`; nobody was told anything else.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::Shared;
use super::maintenance::Maintenance;
use super::pending::{Pending, Row};
use super::queue::{Gather, Queue, Queued};
use super::reseal::Step;
use super::schema::error;
use crate::store::seal::Seal;
use crate::store::state::{Commit, Current, decide_all};
use crate::store::{Durability, Error, EventKind, Item, Result, Revision, Write};

/// Commands taken into one transaction.
const BATCH: usize = 1024;
/// Revisions reserved at a time. What is left of a block is skipped after a crash.
const BLOCK: Revision = 10_000;
/// Writes that may wait for the disk; the next one is written like a durable one. Room for a heartbeat of every
/// node of the largest cluster.
const PENDING: usize = 8192;
/// The longest wait for more writes to share a transaction; never more than a quarter of what the last one took.
const PATIENCE: Duration = Duration::from_millis(1);

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

pub(super) enum Command {
    /// All of them or none.
    Write(Vec<Write>, Reply<Vec<Item>>),
    /// One bounded step; tells whether the revision is reached.
    Compact(Revision, Reply<bool>),
    /// One bounded step through the log.
    Reseal(Revision, Reply<Step>),
    /// Leaves nothing in the file that is not part of it.
    Wipe(Reply<()>),
}

pub(super) struct Writer {
    pub db: Connection,
    pub shared: Arc<Shared>,
    pub queue: Arc<Queue<Command>>,
    /// The last revision handed out.
    pub last: Revision,
    /// The disk says that revisions up to this one may have been handed out.
    pub reserved: Revision,
    /// Acknowledged, visible, and not on disk yet.
    pub pending: Pending,
    pub relaxed_flush: Duration,
    pub heartbeat_flush: Duration,
    pub flush_at: Option<Instant>,
    pub maintenance: Maintenance,
}

/// Who waits, and what will be answered once the batch is done.
type Answer = (Reply<Vec<Item>>, Result<Vec<Item>>);

/// Writes that share a transaction, or are published together without one.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    /// What the batch makes of the keys it touches.
    keys: HashMap<Arc<str>, Option<Current>>,
    replies: Vec<Answer>,
    durable: bool,
}

impl Writer {
    pub fn run(mut self) {
        let mut gather = Gather::default();
        while let Some(commands) = self.queue.take(self.deadline(), BATCH, gather) {
            let (begun, count) = (Instant::now(), commands.len());
            self.execute(commands);
            gather = Gather { commands: count, patience: (begun.elapsed() / 4).min(PATIENCE) };
            let now = Instant::now();
            if self.flush_at.is_some_and(|at| at <= now) {
                self.flush_at = None;
                self.flush();
            }
            self.maintain(now);
        }
        self.finish();
    }

    fn deadline(&self) -> Option<Instant> {
        self.flush_at.into_iter().chain(self.maintenance.deadline()).min()
    }

    fn execute(&mut self, commands: Vec<Queued<Command>>) {
        let mut batch = Batch::default();
        let mut chores = Vec::new();
        // Places in the queue are given back when the whole batch is answered.
        let mut places = Vec::with_capacity(commands.len());
        for Queued { command, place } in commands {
            places.push(place);
            match command {
                Command::Write(writes, reply) => self.stage(&mut batch, writes, reply),
                chore => chores.push(chore),
            }
        }
        if batch.durable {
            let outcome = self.commit(&batch.rows);
            self.finish_batch(batch, outcome);
        } else {
            self.publish_relaxed(&mut batch);
        }
        for chore in chores {
            self.chore(chore);
        }
    }

    /// What is asked of the writer besides writing. Nobody need be there for the answer.
    fn chore(&mut self, command: Command) {
        match command {
            Command::Compact(revision, reply) => drop(reply.send(self.compact(revision))),
            Command::Reseal(after, reply) => drop(reply.send(self.reseal(after))),
            Command::Wipe(reply) => drop(reply.send(self.wipe())),
            Command::Write(..) => {}
        }
    }

    fn stage(&mut self, batch: &mut Batch, writes: Vec<Write>, reply: Reply<Vec<Item>>) {
        let last = self.last + writes.len() as Revision;
        let full = self.pending.len() + batch.rows.len() + writes.len() > PENDING || last > self.reserved;
        let durabilities: Vec<Durability> = writes.iter().map(|write| write.durability).collect();
        let durable = full || durabilities.contains(&Durability::Durable);
        let current = |key: &str| match batch.keys.get(key) {
            Some(current) => current.clone(),
            None => self.shared.state.read().get(key),
        };
        let decided = catch_unwind(AssertUnwindSafe(|| decide_all(writes, self.last, current)))
            .unwrap_or_else(|_| Err(Error::Unavailable("the value could not be encoded".into())));
        let commits = match decided {
            Ok(commits) => commits,
            // Answered with the batch: it may speak of a write that is not committed yet.
            Err(error) => return batch.replies.push((reply, Err(error))),
        };
        if durable && !batch.durable {
            self.publish_relaxed(batch);
            batch.durable = true;
        }
        self.last = last;
        for commit in &commits {
            batch.keys.insert(commit.event.item.key.clone(), commit.current());
        }
        let items = commits.iter().map(|commit| commit.event.item.clone());
        batch.replies.push((reply, Ok(items.collect())));
        batch
            .rows
            .extend(commits.into_iter().zip(durabilities).map(|(commit, durability)| Row::new(commit, durability)));
    }

    /// Makes a batch without a durable write visible and leaves it to a later transaction.
    fn publish_relaxed(&mut self, batch: &mut Batch) {
        let mut done = std::mem::take(batch);
        if !done.rows.is_empty() {
            let only_beats = done.rows.iter().all(|row| row.heartbeat);
            let due = Instant::now() + if only_beats { self.heartbeat_flush } else { self.relaxed_flush };
            self.flush_at = Some(self.flush_at.map_or(due, |at| at.min(due)));
            let durable = self.durable();
            self.shared.state.write().publish(done.rows.iter().map(|row| &row.commit), durable);
            done.rows.drain(..).for_each(|row| self.pending.push(row));
        }
        for (reply, result) in done.replies {
            let _ = reply.send(result);
        }
    }

    /// Every visible write up to this revision is on disk.
    fn durable(&self) -> Revision {
        match self.pending.first() {
            Some(revision) => revision - 1,
            None => self.shared.state.read().revision(),
        }
    }

    fn finish_batch(&mut self, batch: Batch, outcome: Result<()>) {
        if outcome.is_ok() {
            self.shared.state.write().publish(batch.rows.iter().map(|row| &row.commit), self.last);
        }
        for (reply, result) in batch.replies {
            let _ = reply.send(outcome.clone().and(result));
        }
    }

    /// Writes what is pending and `rows` in one transaction.
    fn commit(&mut self, rows: &[Row]) -> Result<()> {
        self.transaction(rows, |_| Ok(()))
    }

    /// One transaction: everything pending, then `rows`, then `more`. All of it or nothing.
    pub fn transaction<T>(&mut self, rows: &[Row], more: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let reserve = (self.last > self.reserved || self.reserved - self.last < BLOCK / 10).then(|| self.last + BLOCK);
        let all = self.pending.rows().chain(rows);
        let outcome = (|| -> Result<T> {
            let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(error)?;
            insert(&tx, self.shared.seal.as_ref(), all)?;
            if let Some(reserve) = reserve {
                tx.execute("UPDATE meta SET reserved = ?1", [reserve as i64]).map_err(error)?;
            }
            let result = more(&tx)?;
            tx.commit().map_err(error)?;
            Ok(result)
        })();
        match outcome {
            Ok(result) => {
                self.reserved = reserve.unwrap_or(self.reserved);
                self.maintenance.wrote(self.pending.rows().chain(rows));
                self.pending.clear();
                self.flush_at = None;
                *self.shared.failure.lock() = None;
                Ok(result)
            }
            Err(failure) => {
                *self.shared.failure.lock() = Some(failure.clone());
                Err(failure)
            }
        }
    }

    /// Brings the pending writes to disk; on failure they stay pending and the timer is armed again.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if let Err(error) = self.commit(&[]) {
            tracing::warn!(%error, waiting = self.pending.len(), "relaxed writes could not be flushed");
            self.flush_at = Some(Instant::now() + self.relaxed_flush);
        }
    }

    fn finish(mut self) {
        let last = self.last.max(self.shared.state.read().revision());
        let closed = self.transaction(&[], |tx| {
            tx.execute("UPDATE meta SET reserved = ?1, closed_at = ?1", [last as i64]).map_err(error)
        });
        if let Err(error) = closed {
            tracing::error!(%error, lost = self.pending.len(), "the store could not be closed in order");
        }
        self.shared.state.write().hub.close();
    }
}

fn insert<'a>(tx: &Transaction, seal: &dyn Seal, rows: impl Iterator<Item = &'a Row>) -> Result<()> {
    let mut statement = tx.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)").map_err(error)?;
    for Row { commit: Commit { event, created }, previous, .. } in rows {
        let deleted = event.kind == EventKind::Deleted;
        let (item, created, previous) = (&event.item, *created as i64, *previous as i64);
        let sealed = seal.seal(&item.key, &item.value).map_err(Error::Unavailable)?;
        let value = sealed.as_deref().unwrap_or(&item.value);
        statement.execute((item.revision as i64, &*item.key, previous, created, deleted, value)).map_err(error)?;
    }
    Ok(())
}
