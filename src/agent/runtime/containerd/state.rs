//! What is remembered about a container besides what containerd keeps: the fixed [`Record`] travels as an
//! extension of containerd's own container object, the changing [`Status`] is a small file beside it, so that exit codes
//! survive the task, orch and the machine. Plain data and its files; decides nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::agent::runtime::{ContainerInfo, ContainerSpec, ContainerState, Error};

/// The key and type of the extension that holds a [`Record`] as JSON.
pub(super) const EXTENSION: &str = "orch.io/container";
/// The label by which our containers are found.
pub(super) const MANAGED: &str = "orch.io/managed";

/// The reason of an end that nobody saw.
const UNSEEN: &str = "Unknown";

/// Fixed when the container is created.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(super) struct Record {
    pub id: String,
    pub pod_uid: String,
    pub pod_name: String,
    pub namespace: String,
    pub name: String,
    pub attempt: u32,
    pub image: String,
    pub image_id: String,
    pub created_at: String,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub log_path: Option<PathBuf>,
    pub termination_message_path: Option<String>,
    /// Below the cgroup hierarchies' roots.
    pub cgroup: String,
    pub labels: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn new(spec: &ContainerSpec, image_id: &str, cgroup: String) -> Self {
        Self {
            id: spec.id.clone(),
            pod_uid: spec.pod_uid.clone(),
            pod_name: spec.pod_name.clone(),
            namespace: spec.namespace.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            image_id: image_id.to_owned(),
            created_at: Timestamp::now().to_string(),
            tty: spec.tty,
            stdin: spec.stdin,
            stdin_once: spec.stdin_once,
            log_path: spec.log_path.clone(),
            termination_message_path: spec.termination_message_path.clone(),
            cgroup,
            labels: spec.labels.clone(),
        }
    }
}

/// Changes over a container's life.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
pub(super) struct Status {
    /// Only while running, and only in memory's truth: after a restart containerd is asked.
    #[serde(skip)]
    pub pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    #[serde(skip)]
    pub oom: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub(super) struct End {
    pub at: String,
    pub exit_code: i32,
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

impl End {
    pub(super) fn of_process(exit_code: i32, at: Timestamp, oom: bool) -> Self {
        let reason = match exit_code {
            _ if oom => "OOMKilled",
            0 => "Completed",
            _ => "Error",
        };
        Self { at: at.to_string(), exit_code, reason: reason.to_owned(), message: String::new() }
    }

    /// The process could not be started; 128 is the code of upstream's CRI.
    pub(super) fn not_started(message: &str) -> Self {
        let message = message.to_owned();
        Self { at: Timestamp::now().to_string(), exit_code: 128, reason: "StartError".to_owned(), message }
    }

    /// Nobody saw the end, as after a reboot.
    pub(super) fn unseen() -> Self {
        Self { at: Timestamp::now().to_string(), exit_code: 255, reason: UNSEEN.to_owned(), message: String::new() }
    }
}

pub(super) fn info(record: &Record, status: &Status) -> ContainerInfo {
    let state = match (&status.end, status.pid) {
        (Some(end), _) if end.reason == UNSEEN => ContainerState::Unknown,
        (Some(_), _) => ContainerState::Exited,
        (None, 0) => ContainerState::Created,
        (None, _) => ContainerState::Running,
    };
    let end = status.end.as_ref();
    ContainerInfo {
        id: record.id.clone(),
        pod_uid: record.pod_uid.clone(),
        pod_name: record.pod_name.clone(),
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        attempt: record.attempt,
        image: record.image.clone(),
        image_id: record.image_id.clone(),
        state,
        pid: if state == ContainerState::Running { status.pid } else { 0 },
        created_at: time(&record.created_at).unwrap_or_default(),
        started_at: status.started_at.as_deref().and_then(time),
        finished_at: end.and_then(|end| time(&end.at)),
        exit_code: end.map(|end| end.exit_code),
        oom_killed: end.is_some_and(|end| end.reason == "OOMKilled"),
        reason: end.map(|end| end.reason.clone()).unwrap_or_default(),
        message: end.map(|end| end.message.clone()).unwrap_or_default(),
        log_path: record.log_path.clone(),
        termination_message_path: record.termination_message_path.clone(),
        labels: record.labels.clone(),
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The directory of status files.
#[derive(Debug, Clone)]
pub(super) struct StatusFiles(PathBuf);

impl StatusFiles {
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|error| Error::io(dir, error))?;
        Ok(Self(dir.to_owned()))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    /// A missing or torn file reads as "never started": containerd's task list decides then.
    pub(super) fn read(&self, id: &str) -> Status {
        let bytes = std::fs::read(self.path(id)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Renamed into place: a crash leaves the old or the new one. Not synced: after a power cut the container is gone anyway.
    pub(super) fn write(&self, id: &str, status: &Status) -> Result<(), Error> {
        let path = self.path(id);
        let fail = |error: std::io::Error| Error::io(&path, error);
        let bytes = serde_json::to_vec(status).map_err(|error| fail(error.into()))?;
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, &path)).map_err(fail)
    }

    pub(super) fn remove(&self, id: &str) {
        let _ = std::fs::remove_file(self.path(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_survives_and_torn_files_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let files = StatusFiles::open(dir.path()).unwrap();
        let at = "2026-01-02T03:04:05.000000006Z".parse().unwrap();
        let status = Status { end: Some(End::of_process(137, at, true)), ..Status::default() };
        files.write("c", &status).unwrap();
        assert_eq!(files.read("c"), status);
        assert_eq!(files.read("c").end.unwrap().reason, "OOMKilled");
        std::fs::write(files.path("c"), b"{\"started").unwrap();
        assert_eq!(files.read("c"), Status::default());
        files.remove("c");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
