//! Container logs in the CRI format (`<RFC 3339> stdout F line`), rotated by size as the kubelet does:
//! the current file keeps its name, older ones get a time stamp and all but the newest of them are
//! compressed. Blocking; called by [`super::logs`].

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// Longer lines are written in pieces marked `P`, the last one `F`, as containerd's CRI does.
pub(super) const MAX_LINE: usize = 16 << 10;

/// When a log file is rotated, and how many files there are at most.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    pub max_bytes: u64,
    /// Counting the current file.
    pub max_files: usize,
}

impl Default for LogLimits {
    /// The kubelet's containerLogMaxSize and containerLogMaxFiles.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_files: 5 }
    }
}

pub(super) struct LogFile {
    path: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    size: u64,
}

impl LogFile {
    pub(super) fn open(path: &Path, limits: LogLimits) -> io::Result<Self> {
        let mut log = Self { path: path.to_owned(), limits, file: None, size: 0 };
        log.reopen()?;
        Ok(log)
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        self.size = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    /// Appends finished records and rotates when the file has become too large.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.reopen()?,
        };
        file.write_all(records)?;
        self.size += records.len() as u64;
        if self.size >= self.limits.max_bytes {
            self.rotate()?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = jiff::tz::TimeZone::UTC.to_datetime(Timestamp::now()).strftime("%Y%m%d-%H%M%S").to_string();
        let mut target = with_suffix(&self.path, &stamp);
        // Two rotations within a second, or a clock set back: the new name must still sort last.
        let newest = rotated(&self.path)?.pop().map(|path| plain(&path));
        let mut again = 0;
        while newest.as_ref().is_some_and(|newest| *newest >= target) && again < 1000 {
            again += 1;
            target = with_suffix(&self.path, &format!("{stamp}-{again:03}"));
        }
        std::fs::rename(&self.path, &target)?;
        self.file = None;
        let mut rotated = rotated(&self.path)?;
        let excess = (rotated.len() + 1).saturating_sub(self.limits.max_files.max(1));
        for old in rotated.drain(..excess) {
            std::fs::remove_file(old)?;
        }
        // The newest stays plain: readers may be in the middle of it.
        rotated.pop();
        for old in rotated.iter().filter(|path| path.extension().is_none_or(|extension| extension != "gz")) {
            compress(old)?;
        }
        self.reopen().map(drop)
    }
}

/// The rotated files of a log, oldest first.
fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let prefix = format!("{}.", name.to_string_lossy());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&prefix) && !name.ends_with(".tmp") {
            files.push(entry.path());
        }
    }
    files.sort_by_key(|path| plain(path));
    Ok(files)
}

/// The name without the mark of compression, by which rotated files sort.
fn plain(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "gz") { path.with_extension("") } else { path.to_owned() }
}

fn compress(path: &Path) -> io::Result<()> {
    let (target, scratch) = (with_suffix(path, "gz"), with_suffix(path, "gz.tmp"));
    let mut encoder = flate2::write::GzEncoder::new(File::create(&scratch)?, flate2::Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    std::fs::rename(scratch, target)?;
    std::fs::remove_file(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Cuts a stream of bytes into records; keeps the unfinished line.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) pending: Vec<u8>,
}

impl Lines {
    /// Appends to `out` what is complete after these bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8], stream: &str, at: Timestamp, out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.pending.len();
            match bytes.iter().take(room + 1).position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.pending.extend_from_slice(&bytes[..end]);
                    self.flush(stream, at, b'F', out);
                    bytes = &bytes[end + 1..];
                }
                None if bytes.len() > room => {
                    self.pending.extend_from_slice(&bytes[..room]);
                    self.flush(stream, at, b'P', out);
                    bytes = &bytes[room..];
                }
                None => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
            }
        }
    }

    /// The end of the stream: what is left has no line feed and is marked partial, as containerd's CRI does.
    pub(super) fn finish(&mut self, stream: &str, at: Timestamp, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.flush(stream, at, b'P', out);
        }
    }

    fn flush(&mut self, stream: &str, at: Timestamp, tag: u8, out: &mut Vec<u8>) {
        let _ = write!(out, "{at:.9} {stream} ");
        out.extend_from_slice(&[tag, b' ']);
        out.append(&mut self.pending);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> (String, usize) {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let at = "2026-01-02T03:04:05.000000006Z".parse().unwrap();
        pieces.iter().for_each(|piece| lines.push(piece, "stdout", at, &mut out));
        (String::from_utf8(out).unwrap(), lines.pending.len())
    }

    #[test]
    fn lines_are_records_across_reads() {
        let (text, pending) = cut(&[b"one\ntw", b"o\n", b"\n", b"rest"]);
        let stamp = "2026-01-02T03:04:05.000000006Z stdout F";
        assert_eq!(text, format!("{stamp} one\n{stamp} two\n{stamp} \n"));
        assert_eq!(pending, 4);
    }

    #[test]
    fn long_lines_are_cut() {
        let long = vec![b'x'; MAX_LINE * 2 + 1];
        let (text, pending) = cut(&[&long, b"y\n"]);
        let tags: Vec<&str> = text.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!((tags, pending), (vec!["P", "P", "F"], 0));
        assert!(text.ends_with(" F xy\n"));
        // A line of exactly the limit is whole.
        let mut exact = vec![b'x'; MAX_LINE];
        exact.push(b'\n');
        assert_eq!(cut(&[&exact]).0.lines().count(), 1);
    }

    #[test]
    fn rotates_compresses_and_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogFile::open(&path, LogLimits { max_bytes: 10, max_files: 3 }).unwrap();
        for number in 0..5 {
            log.append(format!("record {number} long enough\n").as_bytes()).unwrap();
        }
        log.append(b"last\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"last\n");
        let old = rotated(&path).unwrap();
        assert_eq!(old.len(), 2, "{old:?}");
        assert!(old[0].extension().unwrap() == "gz" && old[1].extension().unwrap() != "gz", "{old:?}");
        assert!(std::fs::read_to_string(&old[1]).unwrap().contains("record 4"));
        let mut text = String::new();
        let gz = flate2::read::GzDecoder::new(File::open(&old[0]).unwrap());
        io::Read::read_to_string(&mut io::BufReader::new(gz), &mut text).unwrap();
        assert!(text.contains("record 3"), "{text}");
    }
}
