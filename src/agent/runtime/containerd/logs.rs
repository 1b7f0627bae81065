//! The log pump: one task per output pipe of a container, from the pipe to the log file and to whoever
//! is attached. What a killed orch had read of an unfinished line is kept beside the pipe. Starts and kills nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::net::unix::pipe;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fifo::{self, Fifos};
use super::log_file::{Lines, LogFile, LogLimits};
use crate::agent::runtime::Error;

/// One read of a pipe; a pipe's own buffer is 64 KiB.
const READ: usize = 32 << 10;
/// Chunks an attached client may lag behind before it loses some.
const ATTACH_BACKLOG: usize = 256;
/// Output that comes later than this after the exit is from a process that left the container.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// What attached clients get.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub stream: Stream,
    pub bytes: Bytes,
}

pub(super) struct Pump {
    tasks: Vec<JoinHandle<()>>,
    output: broadcast::Sender<Output>,
    guards: Vec<pipe::Receiver>,
    stop: CancellationToken,
}

impl Pump {
    /// Opens the pipes of a container that is about to start; [`Pump::started`] must follow.
    pub(super) fn start(fifos: &Fifos, log: Option<&Path>, limits: LogLimits) -> Result<Self, Error> {
        Self::open(fifos, log, limits, true)
    }

    /// Takes up the pipes of a container that runs already.
    pub(super) fn adopt(fifos: &Fifos, log: Option<&Path>, limits: LogLimits) -> Result<Self, Error> {
        Self::open(fifos, log, limits, false)
    }

    fn open(fifos: &Fifos, log: Option<&Path>, limits: LogLimits, guarded: bool) -> Result<Self, Error> {
        let file = match log {
            Some(path) => {
                Some(Arc::new(Mutex::new(LogFile::open(path, limits).map_err(|error| Error::io(path, error))?)))
            }
            None => None,
        };
        let (output, _) = broadcast::channel(ATTACH_BACKLOG);
        let (mut tasks, mut guards) = (Vec::new(), Vec::new());
        let stop = CancellationToken::new();
        for (path, stream) in [(&fifos.stdout, Stream::Stdout), (&fifos.stderr, Stream::Stderr)] {
            let Some(path) = path else { continue };
            let reader = if guarded {
                let opened = fifo::open_output(path)?;
                guards.push(opened.guard);
                opened.reader
            } else {
                fifo::reopen_output(path)?
            };
            let tail = Tail::open(path);
            let (file, output, stop) = (file.clone(), output.clone(), stop.clone());
            let worker = Worker { reader, stream, file, tail, output, stop };
            tasks.push(tokio::spawn(worker.run()));
        }
        Ok(Self { tasks, output, guards, stop })
    }

    /// The shim has opened its ends: from now on the pipes end when the container does.
    pub(super) fn started(&mut self) {
        self.guards.clear();
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Output> {
        self.output.subscribe()
    }

    /// Leaves the pipes to whoever adopts the container; what was read is in the file when this returns.
    pub(super) async fn release(self) {
        self.stop.cancel();
        futures::future::join_all(self.tasks).await;
    }

    /// Waits until everything that was printed is in the file.
    pub(super) async fn drain(mut self) {
        self.guards.clear();
        let all = futures::future::join_all(&mut self.tasks);
        if tokio::time::timeout(DRAIN_DEADLINE, all).await.is_err() {
            self.tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

struct Worker {
    reader: pipe::Receiver,
    stream: Stream,
    file: Option<Arc<Mutex<LogFile>>>,
    tail: Tail,
    output: broadcast::Sender<Output>,
    stop: CancellationToken,
}

impl Worker {
    async fn run(mut self) {
        let mut lines = Lines { pending: self.tail.load() };
        let mut buffer = vec![0; READ];
        loop {
            match self.stop.run_until_cancelled(self.reader.readable()).await {
                Some(Ok(())) => {}
                Some(Err(_)) => break,
                // The beginning of a line stays in its own file for the next reader.
                None => return,
            }
            match self.reader.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => lines = self.take(lines, &buffer[..count]).await,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::warn!(%error, "reading a container's output");
                    break;
                }
            }
        }
        let mut records = Vec::new();
        lines.finish(self.stream.name(), Timestamp::now(), &mut records);
        self.append(records).await;
        self.tail.remove();
    }

    async fn take(&mut self, mut lines: Lines, bytes: &[u8]) -> Lines {
        if self.output.receiver_count() > 0 {
            let _ = self.output.send(Output { stream: self.stream, bytes: Bytes::copy_from_slice(bytes) });
        }
        if self.file.is_none() {
            return lines;
        }
        let mut records = Vec::with_capacity(bytes.len() + 64);
        lines.push(bytes, self.stream.name(), Timestamp::now(), &mut records);
        self.append(records).await;
        self.tail.save(&lines.pending);
        lines
    }

    /// A slow disk must not hold up the other containers, so the write happens beside the event loop.
    async fn append(&self, records: Vec<u8>) {
        let Some(file) = self.file.clone().filter(|_| !records.is_empty()) else { return };
        let written = tokio::task::spawn_blocking(move || file.lock().append(&records)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "a container's output could not be written to its log");
        }
    }
}

/// The unfinished line, in a file beside the pipe (in memory: a run directory is a tmpfs).
struct Tail {
    path: PathBuf,
    saved: bool,
}

impl Tail {
    fn open(fifo: &Path) -> Self {
        Self { path: fifo.with_extension("tail"), saved: false }
    }

    fn load(&mut self) -> Vec<u8> {
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        self.saved = !bytes.is_empty();
        bytes
    }

    fn save(&mut self, pending: &[u8]) {
        if pending.is_empty() && !self.saved {
            return;
        }
        if let Err(error) = std::fs::write(&self.path, pending) {
            tracing::debug!(%error, "an unfinished line is not kept");
        }
        self.saved = !pending.is_empty();
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
