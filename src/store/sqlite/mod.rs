//! The engine that keeps the cluster on disk: a log of writes in SQLite, and the current state in memory.
//!
//! Flow: [`Store::write_all`] puts a command into a bounded [`queue`]; the [`writer`] thread commits all that
//! waits in one transaction, publishes it to the shared [`State`] and answers. Reads and watches are
//! served from memory; only those that begin further back than the recent events ask the [`history`].
//!
//! Opened by `cmd`, which holds it for the life of the process and closes it last.

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod fault_test;
mod history;
mod maintenance;
mod pending;
mod queue;
mod reseal;
mod schema;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use self::history::History;
use self::maintenance::Maintenance;
use self::pending::Pending;
use self::queue::Queue;
use self::writer::{Command, Writer};
use super::hub::{Limits, Watcher};
use super::seal::{Seal, Unsealed};
use super::state::{State, Undo};
use super::{Error, Item, ListOptions, Page, Result, Revision, Store, Watch, Write};

/// Writes that may wait for the writer; more wait in their own tasks.
const QUEUE: usize = 2048;

/// A watch that is still reading the past is closed when its reader takes nothing for so long.
const STALLED: Duration = Duration::from_secs(60);

/// How the engine trades memory, disk writes and history, and what the disk may show.
#[derive(Clone)]
pub struct SqliteOptions {
    /// History younger than this is kept; `None` leaves compaction to callers.
    pub keep: Option<Duration>,
    /// Automatic compaction waits until it can remove so many rows, so that an idle cluster does not write for it.
    pub compact_rows: u64,
    /// A relaxed write is on disk at most so much later.
    pub relaxed_flush: Duration,
    /// A heartbeat is, where nothing else is written.
    pub heartbeat_flush: Duration,
    /// Recent events held in memory for watches that begin in the past.
    pub recent_events: usize,
    pub recent_bytes: usize,
    /// Events that may wait for one watch's reader before the watch is closed.
    pub watch_buffer: usize,
    /// What turns values into what lies on the disk.
    pub seal: Arc<dyn Seal>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            keep: Some(Duration::from_secs(300)),
            compact_rows: 1000,
            relaxed_flush: Duration::from_secs(5),
            heartbeat_flush: Duration::from_secs(1800),
            recent_events: 4096,
            recent_bytes: 4 << 20,
            watch_buffer: 4096,
            seal: Arc::new(Unsealed),
        }
    }
}

pub struct SqliteStore {
    shared: Arc<Shared>,
    queue: Arc<Queue<Command>>,
    history: Arc<History>,
    path: PathBuf,
    /// The thread, and the lock that is held as long as it may touch the database.
    writer: Mutex<Option<(JoinHandle<()>, File)>>,
}

/// What the writer and the readers both see.
struct Shared {
    state: RwLock<State>,
    /// Why the last transaction failed, if it did.
    failure: Mutex<Option<Error>>,
    seal: Arc<dyn Seal>,
}

impl SqliteStore {
    /// Opens the database at `path`, and makes it and its directory when missing. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the file cannot be opened or locked, [`Error::Corrupt`] when its content is not
    /// what this version of orch wrote.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Arc<Self>> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| Error::Unavailable(format!("cannot create {}: {error}", parent.display())))?;
        }
        let lock = schema::lock(path)?;
        let mut db = schema::open(path)?;
        let loaded = schema::load(&mut db, path, options.seal.as_ref())?;
        let history = Arc::new(History::new(schema::open_reader(path)?, options.seal.clone()));
        let limits = Limits {
            ring_events: options.recent_events,
            ring_bytes: options.recent_bytes,
            watch_buffer: options.watch_buffer,
        };
        let maintenance = Maintenance::new(options.keep, options.compact_rows, loaded.revision, loaded.superseded);
        let state = State::new(loaded.index, loaded.revision, loaded.compacted, limits).with_gaps(loaded.gaps);
        tracing::debug!(objects = state.len(), revision = loaded.revision, "store opened");
        let shared = Arc::new(Shared { state: RwLock::new(state), failure: Mutex::default(), seal: options.seal });
        let queue = Arc::new(Queue::new(QUEUE));
        let writer = Writer {
            db,
            shared: shared.clone(),
            queue: queue.clone(),
            last: loaded.revision,
            reserved: loaded.revision,
            pending: Pending::default(),
            relaxed_flush: options.relaxed_flush,
            heartbeat_flush: options.heartbeat_flush,
            flush_at: None,
            maintenance,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| Error::Unavailable(format!("cannot start the writer thread: {error}")))?;
        let path = path.to_owned();
        Ok(Arc::new(Self { shared, queue, history, path, writer: Mutex::new(Some((thread, lock))) }))
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        if !self.queue.push(command(reply)).await {
            return Err(Error::Closed);
        }
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// What changed under `prefix` after `at`, as far as memory no longer knows, and the page made with it.
    async fn page_at(&self, prefix: &str, at: Revision, options: &ListOptions) -> Result<Page> {
        let mut undo = Undo::new();
        let mut through = at;
        loop {
            let floor = {
                let state = self.shared.state.read();
                state.check(at)?;
                if state.hub.floor() <= through {
                    return Ok(state.page(prefix, options, undo));
                }
                state.hub.floor()
            };
            let chapter = self.history.read(prefix, through, floor).await?;
            for event in chapter.events {
                undo.entry(event.item.key.clone()).or_insert_with(|| event.previous.clone());
            }
            through = chapter.through;
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn revision(&self) -> Revision {
        self.shared.state.read().revision()
    }

    fn get(&self, key: &str) -> Option<Item> {
        self.shared.state.read().get(key).map(|current| current.item)
    }

    async fn list(&self, prefix: &str, options: ListOptions) -> Result<Page> {
        match options.at {
            Some(at) => self.page_at(prefix, at, &options).await,
            None => Ok(self.shared.state.read().page(prefix, &options, Undo::new())),
        }
    }

    fn count(&self, prefix: &str) -> usize {
        self.shared.state.read().count(prefix)
    }

    fn size(&self) -> Option<u64> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let bytes = |path: &Path| std::fs::metadata(path).map(|found| found.len()).ok();
        Some(bytes(&self.path)? + bytes(Path::new(&log)).unwrap_or_default())
    }

    fn health(&self) -> Result<()> {
        if self.queue.is_closed() {
            return Err(Error::Closed);
        }
        self.shared.failure.lock().clone().map_or(Ok(()), Err)
    }

    async fn write_all(&self, writes: Vec<Write>) -> Result<Vec<Item>> {
        self.ask(|reply| Command::Write(writes, reply)).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch> {
        if self.queue.is_closed() {
            return Err(Error::Closed);
        }
        let (watcher, watch) = {
            let mut state = self.shared.state.write();
            if let Some(watch) = state.watch(prefix, after)? {
                return Ok(watch);
            }
            state.hub.new_watcher(prefix, after)
        };
        tokio::spawn(catch_up(self.shared.clone(), self.history.clone(), watcher));
        Ok(watch)
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        while !self.ask(|reply| Command::Compact(revision, reply)).await? {}
        Ok(())
    }

    async fn close(&self) {
        self.queue.close();
        self.history.close().await;
        let running = self.writer.lock().take();
        if let Some((thread, lock)) = running {
            // It may have to wait for the disk.
            let _ = tokio::task::spawn_blocking(move || join(thread, lock)).await;
        }
    }
}

impl Drop for SqliteStore {
    /// As good as [`Store::close`], for those who forget it.
    fn drop(&mut self) {
        self.queue.close();
        if let Some((thread, lock)) = self.writer.get_mut().take() {
            join(thread, lock);
        }
    }
}

fn join(thread: JoinHandle<()>, lock: File) {
    if thread.join().is_err() {
        tracing::error!("the store's writer thread panicked");
    }
    // Said, not left to closing the file: a child process that is being started may still hold a copy of it.
    let _ = lock.unlock();
}

/// Feeds a watch from the log until the recent events can take over. Ends when its reader is gone.
async fn catch_up(shared: Arc<Shared>, history: Arc<History>, mut watcher: Watcher) {
    loop {
        let missed = {
            let mut state = shared.state.write();
            watcher = match state.hub.attach(watcher) {
                Ok(()) => return,
                Err(watcher) => watcher,
            };
            if state.hub.floor() <= watcher.seen() {
                Ok(state.hub.since(watcher.prefix(), watcher.seen()).cloned().collect::<Vec<_>>())
            } else {
                Err(state.hub.floor())
            }
        };
        let chapter = match missed {
            Ok(events) => history::Chapter { events, through: watcher.seen() },
            Err(floor) => match history.read(watcher.prefix(), watcher.seen(), floor).await {
                Ok(chapter) => chapter,
                Err(error) => return watcher.end(error),
            },
        };
        for event in chapter.events {
            let requested = watcher.seen();
            match tokio::time::timeout(STALLED, watcher.send(event)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    let oldest = shared.state.read().revision();
                    return watcher.end(Error::Compacted { requested, oldest });
                }
            }
        }
        watcher.skip_to(chapter.through);
    }
}
