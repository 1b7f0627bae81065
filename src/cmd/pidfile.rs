//! The server's process id in `<run-dir>/orch.pid`: how `stop` and `uninstall` find the server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

pub struct PidFile(PathBuf);

impl PidFile {
    /// Claims the run directory for this process.
    pub fn claim(run_dir: &Path) -> anyhow::Result<Self> {
        let path = run_dir.join("orch.pid");
        if let Some(pid) = running(run_dir) {
            bail!(
                "orch is running already in {} (pid {}); stop it with: orch stop",
                run_dir.display(),
                pid.as_raw_nonzero()
            );
        }
        std::fs::create_dir_all(run_dir).with_context(|| format!("cannot make {}", run_dir.display()))?;
        std::fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The server that claimed the run directory, if it lives.
fn running(run_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(run_dir.join("orch.pid")).ok()?;
    let pid: i32 = text.trim().parse().ok()?;
    // A number that was given to somebody else since must not be taken for ours.
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let ours = arguments.iter().any(|argument| *argument == b"server" || *argument == b"agent");
    let own = u32::try_from(pid).is_ok_and(|pid| pid == std::process::id());
    Pid::from_raw(pid).filter(|_| ours && !own)
}

/// Whether a server or agent has claimed the run directory.
pub fn is_running(run_dir: &Path) -> bool {
    running(run_dir).is_some()
}

/// Ends the server and waits until it is gone; false where none ran.
pub fn stop(run_dir: &Path, patience: Duration) -> anyhow::Result<bool> {
    let Some(pid) = running(run_dir) else { return Ok(false) };
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(false),
        Err(error) => return Err(error).context("cannot watch the server's process"),
    };
    pidfd_send_signal(&handle, Signal::TERM).context("cannot signal the server; run this as root")?;
    let timeout = Timespec { tv_sec: i64::try_from(patience.as_secs())?, tv_nsec: 0 };
    let mut watched = [PollFd::new(&handle, PollFlags::IN)];
    if poll(&mut watched, Some(&timeout))? == 0 {
        bail!("the server (pid {}) did not end within {patience:?}", pid.as_raw_nonzero());
    }
    Ok(true)
}

/// Tells the server that its certificates lie there anew; false where none runs.
pub fn reload(run_dir: &Path) -> anyhow::Result<bool> {
    let Some(pid) = running(run_dir) else { return Ok(false) };
    match kill_process(pid, Signal::HUP) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::SRCH) => Ok(false),
        Err(error) => Err(error).context("cannot signal the server; run this as root"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_elses_number_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        assert!(running(dir.path()).is_none());
        for text in ["1", "nonsense", "-5", "999999999"] {
            std::fs::write(dir.path().join("orch.pid"), text).unwrap();
            assert!(running(dir.path()).is_none(), "{text}");
            assert!(!stop(dir.path(), Duration::from_secs(1)).unwrap(), "{text}");
        }
    }
}
