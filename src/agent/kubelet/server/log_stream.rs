//! `/containerLogs`: a log file from where the request wants it, to its end or for as long as the container runs.
//! Following waits for the kernel to say that the file grew; it never polls.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{broadcast, mpsc};

use super::Server;
use super::answer::{self, Answer, Failure};
use super::locate;
use super::query::Query;
use crate::agent::file_watch::Watched;
use crate::agent::kubelet::logs::{Filter, Options};
use crate::agent::runtime::RuntimeEvent;

const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow client; then reading waits too.
const WAITING: usize = 4;

pub async fn logs(
    server: &Arc<Server>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<Answer, Failure> {
    let options = query.log_options(Timestamp::now())?;
    let log = locate::log(server, namespace, pod, container, options.previous)?;
    // Everything that can end the following is listened to before the first byte is read.
    let events = server.host.runtime.events();
    let ended = match &log.writer {
        Some(id) => !matches!(server.host.runtime.container(id).await, Ok(Some(info)) if info.pid != 0),
        None => true,
    };
    let file = match File::open(&log.path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(answer::text("")),
        Err(error) => {
            return Err(Failure::internal(format!("failed to open log file {}: {error}", log.path.display())));
        }
    };
    let watched = match options.follow && !ended {
        true => log.path.parent().map(|dir| server.files.watch(dir)).transpose().map_err(Failure::internal)?,
        false => None,
    };
    let (chunks, receiver) = mpsc::channel(WAITING);
    let end = End { writer: log.writer.filter(|_| !ended), events };
    let mut reader =
        Reader { path: log.path, file, filter: Filter::new(&options), rest: Vec::new(), chunks, watched, end };
    tokio::spawn(async move {
        if let Err(error) = reader.run(&options).await {
            tracing::debug!(path = %reader.path.display(), %error, "log stream ended");
        }
    });
    Ok(answer::stream(receiver))
}

/// Knows when nobody writes any more.
struct End {
    writer: Option<String>,
    events: broadcast::Receiver<RuntimeEvent>,
}

impl End {
    async fn wait(&mut self) {
        loop {
            match self.events.recv().await {
                Ok(RuntimeEvent::Exited { id, .. }) if Some(&id) == self.writer.as_ref() => return,
                Ok(_) => {}
                // Better an end too early than never.
                Err(_) => return,
            }
        }
    }
}

struct Reader {
    path: PathBuf,
    file: File,
    filter: Filter,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
    watched: Option<Watched>,
    end: End,
}

impl Reader {
    async fn run(&mut self, options: &Options) -> io::Result<()> {
        if let Some(lines) = options.tail_lines {
            let at = tail_offset(&mut self.file, lines).await?;
            self.file.seek(SeekFrom::Start(at)).await?;
        }
        let mut over = self.watched.is_none();
        loop {
            if !self.drain().await? {
                return Ok(());
            }
            if self.rotated().await? {
                continue;
            }
            if over {
                return Ok(());
            }
            let Some(watched) = &self.watched else { return Ok(()) };
            tokio::select! {
                () = watched.changed() => {}
                () = self.end.wait() => over = true,
                () = self.chunks.closed() => return Ok(()),
            }
        }
    }

    /// Sends everything up to the end of the file; false when nobody wants more.
    async fn drain(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = self.file.read(&mut buffer).await?;
            if read == 0 {
                return Ok(true);
            }
            self.rest.extend_from_slice(&buffer[..read]);
            let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let mut out = Vec::new();
            for line in self.rest[..whole].split_inclusive(|byte| *byte == b'\n') {
                self.filter.push(line, &mut out);
            }
            self.rest.drain(..whole);
            if !out.is_empty() && self.chunks.send(out.into()).await.is_err() {
                return Ok(false);
            }
            if self.filter.is_full() {
                return Ok(false);
            }
        }
    }

    /// Goes on with the new file where the old one was renamed.
    async fn rotated(&mut self) -> io::Result<bool> {
        let Ok(there) = tokio::fs::metadata(&self.path).await else { return Ok(false) };
        if there.ino() == self.file.metadata().await?.ino() {
            return Ok(false);
        }
        self.file = File::open(&self.path).await?;
        Ok(true)
    }
}

/// Where the last `lines` lines begin.
async fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut end = file.metadata().await?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut newlines = 0;
    let mut buffer = vec![0; CHUNK];
    let length = end;
    while end > 0 {
        let begin = end.saturating_sub(CHUNK as u64);
        let size = usize::try_from(end - begin).unwrap_or(CHUNK);
        file.seek(SeekFrom::Start(begin)).await?;
        file.read_exact(&mut buffer[..size]).await?;
        for at in (0..size).rev().filter(|at| buffer[*at] == b'\n') {
            let place = begin + at as u64;
            // The newline at the very end closes the last line, it does not begin another.
            if place + 1 == length {
                continue;
            }
            newlines += 1;
            if newlines == lines {
                return Ok(place + 1);
            }
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_tail_begins_where_it_should() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let long = "x".repeat(CHUNK);
        std::fs::write(temp.path(), format!("one\ntwo\n{long}\nfour\n")).unwrap();
        let mut file = File::open(temp.path()).await.unwrap();
        let mut offsets = Vec::new();
        for lines in [0, 1, 2, 3, 4, 9] {
            offsets.push(tail_offset(&mut file, lines).await.unwrap());
        }
        let end = CHUNK as u64 + 14;
        assert_eq!(offsets, [end, end - 5, 8, 4, 0, 0]);
    }
}
