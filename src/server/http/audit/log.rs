//! The audit log's file: one thread writes what comes through a bounded queue, and begins a new file when the old one is
//! full. Old files are removed by number and by age; their names say when they ended, as upstream's do.
//!
//! Whether a request waits for its lines, and what becomes of it where they cannot be written, is the [`Mode`].

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// Lines that may wait for the disk where requests wait for them.
const QUEUE: usize = 1024;
/// Where no size is given.
const DEFAULT_MEGABYTES: u64 = 100;
const MEGABYTE: u64 = 1024 * 1024;
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// What requests have to do with the writing of their lines: upstream's `--audit-log-mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Nothing: lines wait in the buffer, and those that find it full are lost.
    Batch,
    /// They wait until their lines are in the file.
    #[default]
    Blocking,
    /// As blocking, and a request whose first line cannot be written is refused.
    BlockingStrict,
}

/// Where the log goes and what is kept of it.
#[derive(Clone, Debug)]
pub struct LogOptions {
    pub mode: Mode,
    /// Lines that may wait in mode batch.
    pub buffer: usize,
    /// `-` is standard output.
    pub path: PathBuf,
    /// The size of a file in megabytes; 0 is 100.
    pub max_size: u64,
    /// Old files kept; 0 keeps all.
    pub max_backups: usize,
    /// Days that old files are kept; 0 keeps them for ever.
    pub max_age: u32,
}

/// A line, and who waits for it.
struct Entry {
    line: Vec<u8>,
    /// Told whether it is in the file.
    done: Option<oneshot::Sender<bool>>,
}

pub struct Log {
    pub mode: Mode,
    queue: Mutex<Option<mpsc::Sender<Entry>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// # Errors
    /// Where the file cannot be opened.
    pub fn open(options: LogOptions) -> io::Result<Self> {
        let mode = options.mode;
        let waiting = if mode == Mode::Batch { options.buffer.max(1) } else { QUEUE };
        let mut target = Target::open(options)?;
        let (sender, mut entries) = mpsc::channel::<Entry>(waiting);
        let writer = std::thread::Builder::new().name("audit-log".to_owned()).spawn(move || {
            while let Some(Entry { line, done }) = entries.blocking_recv() {
                let written = target.write(&line);
                if let Err(error) = &written {
                    tracing::error!(%error, "an audit event could not be written");
                }
                // Who no longer listens has gone away.
                let _ = done.map(|done| done.send(written.is_ok()));
            }
        })?;
        Ok(Self { mode, queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)) })
    }

    fn sender(&self) -> Option<mpsc::Sender<Entry>> {
        self.queue.lock().clone()
    }

    /// Returns when the line is in the file (in mode batch: in the buffer); false where it is not.
    pub async fn write(&self, line: Vec<u8>) -> bool {
        if self.mode == Mode::Batch {
            return self.try_write(line);
        }
        let Some(sender) = self.sender() else { return false };
        let (done, written) = oneshot::channel();
        sender.send(Entry { line, done: Some(done) }).await.is_ok() && written.await.unwrap_or(false)
    }

    /// For those who cannot wait: false where the buffer is full.
    pub fn try_write(&self, line: Vec<u8>) -> bool {
        self.sender().is_some_and(|sender| sender.try_send(Entry { line, done: None }).is_ok())
    }

    /// Writes what waits, and takes no more.
    pub async fn close(&self) {
        *self.queue.lock() = None;
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(|| writer.join()).await;
        }
    }
}

/// What the thread writes to.
enum Target {
    Stdout,
    File { file: File, size: u64, options: LogOptions },
}

impl Target {
    fn open(options: LogOptions) -> io::Result<Self> {
        if options.path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        if let Some(dir) = options.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = append(&options.path)?;
        let size = file.metadata()?.len();
        Ok(Self::File { file, size, options })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let Self::File { file, size, options } = self else { return io::stdout().write_all(line) };
        let limit = if options.max_size == 0 { DEFAULT_MEGABYTES } else { options.max_size } * MEGABYTE;
        let length = line.len() as u64;
        if *size > 0 && *size + length > limit {
            *file = rotate(options, Timestamp::now())?;
            *size = 0;
        }
        *size += length;
        file.write_all(line)
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Puts the full file aside, removes what is too old or too much, and begins anew.
fn rotate(options: &LogOptions, now: Timestamp) -> io::Result<File> {
    fs::rename(&options.path, backup(&options.path, now))?;
    for old in surplus(&backups(&options.path)?, options, now) {
        if let Err(error) = fs::remove_file(old) {
            tracing::warn!(%error, "an old audit log could not be removed");
        }
    }
    append(&options.path)
}

/// The name's two halves: `audit-` and `.log` of `audit.log`.
fn halves(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    (format!("{stem}-"), extension)
}

fn backup(path: &Path, now: Timestamp) -> PathBuf {
    let (head, tail) = halves(path);
    path.with_file_name(format!("{head}{}{tail}", now.strftime(TIME)))
}

/// The old files and when they ended, newest first.
fn backups(path: &Path) -> io::Result<Vec<(Timestamp, PathBuf)>> {
    let (head, tail) = halves(path);
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&head).and_then(|rest| rest.strip_suffix(&tail));
        let time = time.and_then(|text| jiff::civil::DateTime::strptime(TIME, text).ok());
        let time = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok());
        found.extend(time.map(|time| (time.timestamp(), entry.path())));
    }
    found.sort_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Which of the old files, newest first, are too many or too old.
fn surplus<'a>(backups: &'a [(Timestamp, PathBuf)], options: &LogOptions, now: Timestamp) -> Vec<&'a PathBuf> {
    let kept = if options.max_backups == 0 { usize::MAX } else { options.max_backups };
    let age = SignedDuration::from_hours(i64::from(options.max_age) * 24);
    let too_old = |ended: Timestamp| options.max_age > 0 && now.duration_since(ended) > age;
    let numbered = backups.iter().enumerate();
    numbered.filter(|(at, (ended, _))| *at >= kept || too_old(*ended)).map(|(_, (_, path))| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(path: PathBuf) -> LogOptions {
        LogOptions { mode: Mode::Blocking, buffer: 1, path, max_size: 1, max_backups: 2, max_age: 3 }
    }

    #[tokio::test]
    async fn full_files_are_put_aside_and_only_some_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let log = Log::open(options(path.clone())).unwrap();
        let half = vec![b'x'; 600 * 1024];
        for _ in 0..5 {
            assert!(log.write(half.clone()).await);
        }
        log.close().await;
        assert!(!log.write(half).await && !log.try_write(Vec::new()));
        assert_eq!(fs::metadata(&path).unwrap().len(), 600 * 1024);
        assert_eq!(backups(&path).unwrap().len(), 2);
        // What is there is continued, not overwritten.
        let log = Log::open(options(path.clone())).unwrap();
        assert!(log.try_write(b"line\n".to_vec()));
        log.close().await;
        assert_eq!(fs::metadata(&path).unwrap().len(), 600 * 1024 + 5);
    }

    #[tokio::test]
    async fn who_waits_learns_that_nothing_was_written() {
        // A device on which there is never room.
        let full = |mode| Log::open(LogOptions { mode, ..options("/dev/full".into()) }).unwrap();
        for (mode, taken) in [(Mode::Batch, true), (Mode::Blocking, false), (Mode::BlockingStrict, false)] {
            let log = full(mode);
            assert_eq!(log.write(b"line\n".to_vec()).await, taken, "{mode:?}");
            log.close().await;
        }
    }

    #[test]
    fn old_files_go_by_number_and_by_age() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let path = PathBuf::from("/var/log/audit.log");
        assert_eq!(backup(&path, now), PathBuf::from("/var/log/audit-2026-01-10T00-00-00.000.log"));
        let ended = ["2026-01-09T00:00:00Z", "2026-01-06T00:00:00Z", "2026-01-05T00:00:00Z"];
        let backups: Vec<_> = ended.iter().map(|time| (time.parse().unwrap(), PathBuf::from(time))).collect();
        let gone = |number, age| {
            let options = LogOptions { max_backups: number, max_age: age, ..options(path.clone()) };
            surplus(&backups, &options, now).len()
        };
        assert_eq!([gone(0, 0), gone(2, 0), gone(0, 3), gone(1, 30)], [0, 1, 2, 2]);
    }
}
