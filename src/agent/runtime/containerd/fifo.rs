//! Named pipes between a shim and us. The shim keeps both ends of an output pipe open, so what a
//! process prints while orch is away waits in the pipe. Only files and descriptors; used by logs and exec.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::net::unix::pipe;

use crate::agent::runtime::Error;

/// The pipes of one process: `<dir>/<prefix>stdin`, … An output that is not wanted has no file.
#[derive(Debug, Clone)]
pub(super) struct Fifos {
    pub stdin: Option<PathBuf>,
    pub stdout: Option<PathBuf>,
    pub stderr: Option<PathBuf>,
}

impl Fifos {
    pub(super) fn paths(dir: &Path, prefix: &str, stdin: bool, stdout: bool, stderr: bool) -> Self {
        let path = |wanted: bool, name: &str| wanted.then(|| dir.join(format!("{prefix}{name}")));
        Self { stdin: path(stdin, "stdin"), stdout: path(stdout, "stdout"), stderr: path(stderr, "stderr") }
    }

    /// Makes fresh ones; what lies there under the same name is from a process that is gone.
    pub(super) fn create(&self, dir: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        self.remove();
        for path in [&self.stdin, &self.stdout, &self.stderr].into_iter().flatten() {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(|error| Error::io(path, error))?;
        }
        Ok(())
    }

    pub(super) fn remove(&self) {
        for path in [&self.stdin, &self.stdout, &self.stderr].into_iter().flatten() {
            let _ = std::fs::remove_file(path);
        }
    }

    /// For containerd, which takes an empty name for "none".
    pub(super) fn name(path: Option<&PathBuf>) -> String {
        path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// The reading end, and a guard that must live until the shim has opened the other end: without a
/// writer a pipe reads as ended.
pub(super) struct Output {
    pub reader: pipe::Receiver,
    pub guard: pipe::Receiver,
}

pub(super) fn open_output(path: &Path) -> Result<Output, Error> {
    let fail = |error: std::io::Error| Error::io(path, error);
    let guard = pipe::OpenOptions::new().read_write(true).open_receiver(path).map_err(fail)?;
    Ok(Output { reader: reopen_output(path)?, guard })
}

/// The reading end alone, when a shim holds the other one already.
pub(super) fn reopen_output(path: &Path) -> Result<pipe::Receiver, Error> {
    pipe::OpenOptions::new().open_receiver(path).map_err(|error| Error::io(path, error))
}

/// The writing end; opened for reading too, so that it works before the shim has opened its end.
pub(super) fn open_input(path: &Path) -> Result<pipe::Sender, Error> {
    pipe::OpenOptions::new().read_write(true).open_sender(path).map_err(|error| Error::io(path, error))
}
