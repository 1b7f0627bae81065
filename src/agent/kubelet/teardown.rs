//! Taking away what a pod has on the node. Every step is tried, whatever became of the others, and may be repeated;
//! errors are collected.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::host::Host;
use super::model::{Instance, PodId};
use super::volumes;

/// What could not be removed yet; it will be tried again.
#[derive(Debug, thiserror::Error)]
#[error("error killing pod: [{}]", .0.join(", "))]
pub struct Error(Vec<String>);

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn note<T, E: Display>(&mut self, what: &str, result: Result<T, E>) {
        if let Err(error) = result {
            self.0.push(format!("failed to remove {what}: {error}"));
        }
    }

    fn done(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error(self.0)) }
    }
}

/// Ends a pod whose containers have stopped: containers, sandbox, volumes and cgroup go; its record, last words
/// and logs stay for as long as its object.
pub async fn end(host: &Host, pod: &PodId) -> Result<(), Error> {
    let mut problems = Problems::default();
    match host.runtime.containers().await {
        Ok(containers) => {
            for container in containers.into_iter().filter(|container| container.pod_uid == pod.uid) {
                problems.note("container", host.runtime.remove(&container.id).await);
            }
        }
        Err(error) => problems.note::<(), _>("containers", Err(error)),
    }
    problems.note("sandbox", host.sandboxes.remove(&pod.uid).await);
    let dir = host.pod_dir(&pod.uid);
    let cgroups = host.cgroups.clone();
    let uid = pod.uid.clone();
    let blocking = tokio::task::spawn_blocking(move || (volumes::empty(&dir), cgroups.remove_pod(&uid))).await;
    match blocking {
        Ok((volumes, cgroup)) => {
            problems.note("volumes", volumes);
            problems.note("cgroup", cgroup);
        }
        Err(error) => problems.note::<(), _>("volumes", Err(error)),
    }
    problems.done()
}

/// Removes the last traces of a pod that the API does not know any more.
pub fn forget(host: &Host, pod: &PodId) {
    let dir = host.pod_dir(&pod.uid);
    if let Err(error) = volumes::clear(&dir) {
        tracing::warn!(%pod, %error, "pod directory not removed");
    }
    let logs = host.pod_log_dir(pod);
    match fs::remove_dir_all(&logs) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%pod, %error, "pod logs not removed");
        }
        _ => {}
    }
}

/// A container was started anew: the runtime need not keep the run before, and the log of the one before that is
/// beyond `kubectl logs --previous`.
pub fn forget_run(host: &Arc<Host>, pod: &PodId, name: &str, older: Instance, oldest: Option<Instance>) {
    let logs = host.pod_log_dir(pod).join(name);
    let words = host.pod_dir(&pod.uid).join("containers").join(name);
    let host = host.clone();
    tokio::spawn(async move {
        if let Err(error) = host.runtime.remove(&older.id).await {
            tracing::debug!(id = older.id, %error, "ended container not removed");
        }
        let _ = fs::remove_file(words.join(older.attempt.to_string()));
        if let Some(oldest) = oldest {
            let prefix = format!("{}.log", oldest.attempt);
            for path in files_beginning(&logs, &prefix) {
                let _ = fs::remove_file(path);
            }
        }
    });
}

fn files_beginning(dir: &std::path::Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    ours.map(|entry| entry.path()).collect()
}
