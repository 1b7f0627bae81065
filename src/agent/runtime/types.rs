//! The plain data of the runtime's face: what a container is to be, what was found, what happened.
//! No behaviour beyond small conversions; no Kubernetes type.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Error;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    pub name: String,
    pub version: String,
}

/// How to authenticate to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Basic { username: String, password: String },
    Bearer { token: String },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}

/// Called with (bytes done, bytes in total); must be quick.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A progress that nobody looks at.
pub fn no_progress() -> Progress {
    Arc::new(|_, _| {})
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// Digest of the image's configuration, `sha256:…`: what the kubelet calls the image id.
    pub id: String,
    /// `docker.io/library/busybox:latest`, …
    pub tags: Vec<String>,
    /// `docker.io/library/busybox@sha256:…`, …
    pub digests: Vec<String>,
    /// Compressed size of the layers in bytes.
    pub size: u64,
    pub config: ImageConfig,
    /// Never collected: built in, or imported from the images directory.
    pub pinned: bool,
}

/// What an image says about how it wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    /// `SIGTERM`, `15`, or nothing.
    pub stop_signal: Option<String>,
    pub volumes: Vec<String>,
}

/// A bind mount, or a tmpfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub destination: PathBuf,
    pub source: MountSource,
    pub read_only: bool,
    pub propagation: Propagation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountSource {
    Bind(PathBuf),
    Tmpfs { size: Option<u64> },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Private,
    HostToContainer,
    Bidirectional,
}

/// The namespaces to join by path; `None` without the `host_` flag means a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    pub net: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
    pub uts: Option<PathBuf>,
    pub pid: Option<PathBuf>,
    pub host_net: bool,
    pub host_ipc: bool,
    pub host_uts: bool,
    pub host_pid: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU per period.
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<u64>,
    /// Bytes.
    pub memory_limit: Option<i64>,
    pub pids_limit: Option<i64>,
}

/// Who the first process is. A number from the pod wins over the image's user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunAs {
    pub user: Option<i64>,
    pub group: Option<i64>,
    /// Added to those the image's /etc/group gives the user.
    pub supplementary_groups: Vec<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
}

/// A host device node made available inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub host_path: PathBuf,
    pub container_path: PathBuf,
    /// `rwm`
    pub permissions: String,
}

/// One container, completely described. Names are those of the pod it belongs to.
#[derive(Debug, Clone, Default)]
pub struct ContainerSpec {
    /// Unique for ever; a restart of the container is a new id.
    pub id: String,
    pub pod_uid: String,
    pub pod_name: String,
    pub namespace: String,
    pub name: String,
    /// How often it was restarted.
    pub attempt: u32,
    /// A reference that [`super::Runtime::image`] knows.
    pub image: String,
    /// Replaces the image's entrypoint (and its cmd) when not empty.
    pub command: Vec<String>,
    pub args: Vec<String>,
    /// `(name, value)`, after the image's own.
    pub env: Vec<(String, String)>,
    pub working_dir: Option<String>,
    pub run_as: RunAs,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub namespaces: Namespaces,
    /// Below the configured cgroup root: `besteffort/pod<uid>`; the container's own id is appended.
    pub cgroup_parent: String,
    pub resources: Resources,
    pub capabilities_add: Vec<String>,
    pub capabilities_drop: Vec<String>,
    pub privileged: bool,
    pub read_only_root: bool,
    pub tty: bool,
    pub stdin: bool,
    /// Standard input is closed when the first attached client leaves.
    pub stdin_once: bool,
    pub no_new_privileges: bool,
    pub oom_score_adj: i32,
    /// Absolute; `None` drops the output.
    pub log_path: Option<PathBuf>,
    pub termination_message_path: Option<String>,
    pub hostname: Option<String>,
    pub sysctls: BTreeMap<String, String>,
    /// `None`: the defaults. `Some(vec![])`: `procMount: Unmasked`.
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
    pub seccomp: Seccomp,
    /// Kept with the container and returned by the list.
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running,
    Exited,
    /// It ran, and nothing is known about its end (a reboot): exit code 255 and reason `Unknown`, as upstream's CRI says.
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerInfo {
    pub id: String,
    pub pod_uid: String,
    pub pod_name: String,
    pub namespace: String,
    pub name: String,
    pub attempt: u32,
    /// As asked for in the spec.
    pub image: String,
    /// `sha256:…` of the configuration.
    pub image_id: String,
    pub state: ContainerState,
    /// 0 unless running.
    pub pid: u32,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub exit_code: Option<i32>,
    pub oom_killed: bool,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, … once it has ended.
    pub reason: String,
    pub message: String,
    pub log_path: Option<PathBuf>,
    pub termination_message_path: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

#[derive(Debug, Clone, Default)]
pub struct AttachSpec {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// The streams of a process in a container. Dropping `stdin` closes it. Dropping the whole session of
/// an exec kills nothing: the process ends by its own will, or when it reads the end of its input.
pub struct StdioSession {
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    /// Only for a tty.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code; streams may still hold output when it comes.
    pub exit: BoxFuture<'static, Result<i32, Error>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    pub exit_code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl ExecOutput {
    /// Both streams as the kubelet's exec probe reads them: stdout, then stderr.
    pub fn combined(&self) -> Vec<u8> {
        [self.stdout.as_slice(), self.stderr.as_slice()].concat()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerStats {
    pub at: Timestamp,
    /// CPU time used since the start.
    pub cpu_nanoseconds: u64,
    pub memory_usage: u64,
    /// Usage without the page cache that could be dropped at once.
    pub memory_working_set: u64,
    pub memory_rss: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub processes: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum RuntimeEvent {
    Started {
        id: String,
        pid: u32,
    },
    /// Sent after the output was written to the log and the state was recorded.
    Exited {
        id: String,
        exit_code: i32,
        at: Timestamp,
    },
    Oom {
        id: String,
    },
    /// The stream of events was interrupted: list again.
    Resync,
}
