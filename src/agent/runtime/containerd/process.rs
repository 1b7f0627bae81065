//! containerd as a child process: its configuration, its start, its supervision, its end. The child has
//! its own root, state and socket, outlives a killed orch, and is found again by its socket. Knows
//! nothing of what containerd is used for; called by [`super::Containerd`].

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::net::unix::pipe;
use tokio_util::sync::CancellationToken;

/// How long a fresh containerd may take to answer; a cold disk needs seconds.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// A run this long counts as healthy again.
const HEALTHY: Duration = Duration::from_secs(60);
const LOG_LIMIT: u64 = 10 << 20;

/// What this kubelet never uses; each costs memory or start time, or warns about a missing kernel
/// module. Names of 1.6, 1.7 and 2.x together: containerd ignores those it does not have. (1.6's
/// `io.containerd.runtime.v1.linux` must stay: its task service does not load without it.)
const DISABLED_PLUGINS: &[&str] = &[
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.podsandbox.controller.v1.podsandbox",
    "io.containerd.nri.v1.nri",
    "io.containerd.transfer.v1.local",
    "io.containerd.grpc.v1.transfer",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.native",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.mount-handler.v1.erofs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.monitor.container.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.monitor.task.v1.cgroups",
];

#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error("{program} was not found in PATH: install it (Debian, Ubuntu: apt-get install {package})")]
    Missing { program: &'static str, package: &'static str },
    #[error("the socket path {} is longer than the kernel's 107 bytes: choose a shorter run directory", .0.display())]
    SocketPath(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("containerd ended while starting ({status}): {log}")]
    Ended { status: String, log: String },
    #[error("containerd at {} does not answer: {message}", socket.display())]
    Silent { socket: PathBuf, message: String },
}

/// Where the child lives.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// Persistent: content, snapshots, configuration, log.
    pub root: PathBuf,
    /// Gone after a reboot: socket, state.
    pub run: PathBuf,
}

impl Paths {
    pub(super) fn socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }
    fn log(&self) -> PathBuf {
        self.root.join("containerd.log")
    }
    fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }
}

/// The running child and the task that watches it.
pub(super) struct Process {
    stop: CancellationToken,
    supervisor: tokio::task::JoinHandle<()>,
}

impl Process {
    /// Uses the containerd that listens on the socket, or starts one and waits until it listens.
    pub(super) async fn start(paths: Paths) -> Result<Self, LaunchError> {
        find("runc", "runc")?;
        find("containerd-shim-runc-v2", "containerd")?;
        let socket = paths.socket();
        if socket.as_os_str().len() > 100 {
            return Err(LaunchError::SocketPath(socket));
        }
        let running = match adopt(&paths).await {
            Some(running) => running,
            None => launch(&paths).await?,
        };
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(paths, running, stop.clone()));
        Ok(Self { stop, supervisor })
    }

    /// Ends the child; containers go on in their shims.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        let _ = self.supervisor.await;
    }
}

/// A live containerd: our child, or one that an earlier orch left.
struct Running {
    pid: Pid,
    child: Option<tokio::process::Child>,
    /// A pidfd becomes readable when the process ends. tokio watches it as it watches a pipe.
    exit: pipe::Receiver,
    since: Instant,
}

impl Running {
    fn new(pid: Pid, child: Option<tokio::process::Child>) -> std::io::Result<Self> {
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        Ok(Self { pid, child, exit: pipe::Receiver::from_owned_fd_unchecked(pidfd)?, since: Instant::now() })
    }

    /// Returns when the process has ended, and reaps it if it is ours.
    async fn ended(&mut self) -> String {
        let _ = self.exit.readable().await;
        match &mut self.child {
            Some(child) => child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string()),
            None => "ended".to_owned(),
        }
    }
}

/// The process that listens on the socket, found by the kernel's word on who that is.
async fn adopt(paths: &Paths) -> Option<Running> {
    let stream = tokio::net::UnixStream::connect(paths.socket()).await.ok()?;
    let pid = stream.peer_cred().ok()?.pid()?;
    let running = Running::new(Pid::from_raw(pid)?, None).ok()?;
    tracing::info!(pid, "using the running containerd");
    Some(running)
}

async fn launch(paths: &Paths) -> Result<Running, LaunchError> {
    let program = find("containerd", "containerd")?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| LaunchError::Io { path, source }
    };
    for dir in [&paths.root, &paths.run] {
        std::fs::create_dir_all(dir).map_err(io(dir))?;
    }
    let config = paths.config();
    std::fs::write(&config, configuration(paths)).map_err(io(&config))?;
    let socket = paths.socket();
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&socket)(error)),
        _ => {}
    }
    let log = open_log(&paths.log()).map_err(io(&paths.log()))?;
    let watch = SocketWatch::new(&paths.run).map_err(io(&paths.run))?;
    let child = tokio::process::Command::new(&program)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(io(&paths.log()))?)
        .stderr(log)
        // Away from the terminal's process group: Ctrl-C is for orch alone.
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
        .map_err(io(&program))?;
    let pid = child
        .id()
        .and_then(|id| Pid::from_raw(id.cast_signed()))
        .ok_or_else(|| LaunchError::Ended { status: "at once".to_owned(), log: last_words(&paths.log()) })?;
    let mut running = Running::new(pid, Some(child)).map_err(io(&program))?;
    let silent = |message: &str| LaunchError::Silent { socket: socket.clone(), message: message.to_owned() };
    tokio::select! {
        listening = watch.listening(&socket) => listening.map_err(|error| silent(&error.to_string()))?,
        status = running.ended() => return Err(LaunchError::Ended { status, log: last_words(&paths.log()) }),
        () = tokio::time::sleep(READY_DEADLINE) => {
            terminate(running).await;
            return Err(silent("no socket within a minute"));
        }
    }
    Ok(running)
}

async fn supervise(paths: Paths, mut running: Running, stop: CancellationToken) {
    let mut backoff = BACKOFF.0;
    loop {
        let status = tokio::select! {
            status = running.ended() => status,
            () = stop.cancelled() => return terminate(running).await,
        };
        if running.since.elapsed() > HEALTHY {
            backoff = BACKOFF.0;
        }
        tracing::warn!(status, log = last_words(&paths.log()), "containerd ended; starting it again");
        running = loop {
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = stop.cancelled() => return,
            }
            backoff = (backoff * 2).min(BACKOFF.1);
            match launch(&paths).await {
                Ok(running) => break running,
                Err(error) => tracing::error!(%error, "containerd does not start"),
            }
        };
    }
}

async fn terminate(mut running: Running) {
    let _ = rustix::process::kill_process(running.pid, Signal::TERM);
    if tokio::time::timeout(STOP_DEADLINE, running.ended()).await.is_err() {
        tracing::warn!("containerd does not stop; killing it");
        let _ = rustix::process::kill_process(running.pid, Signal::KILL);
        running.ended().await;
    }
}

/// Waits for the socket by inotify on its directory: no polling, no guess at a delay.
struct SocketWatch(pipe::Receiver);

impl SocketWatch {
    fn new(dir: &Path) -> std::io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&fd, dir, inotify::WatchFlags::CREATE | inotify::WatchFlags::ATTRIB)?;
        Ok(Self(pipe::Receiver::from_owned_fd_unchecked(fd)?))
    }

    async fn listening(&self, socket: &Path) -> std::io::Result<()> {
        loop {
            // The file appears at bind; containerd changes its owner and mode when it listens, which wakes us again.
            if tokio::net::UnixStream::connect(socket).await.is_ok() {
                return Ok(());
            }
            self.0.readable().await?;
            // What happened does not matter, only that something did.
            let mut events = [0; 4096];
            while self.0.try_read(&mut events).is_ok_and(|count| count > 0) {}
        }
    }
}

fn configuration(paths: &Paths) -> String {
    let plugins: Vec<String> = DISABLED_PLUGINS.iter().map(|name| format!("  {},", toml(name))).collect();
    format!(
        "# Written by orch at every start.\nversion = 2\nroot = {}\nstate = {}\noom_score = -999\ndisabled_plugins = [\n{}\n]\n\n\
         [debug]\nlevel = \"warn\"\n\n\
         [grpc]\naddress = {}\nmax_recv_message_size = 67108864\nmax_send_message_size = 67108864\n",
        toml(&paths.root.join("root").to_string_lossy()),
        toml(&paths.run.join("state").to_string_lossy()),
        plugins.join("\n"),
        toml(&paths.socket().to_string_lossy()),
    )
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn toml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

/// The last three lines of the log: what a person needs when the child ended.
fn last_words(path: &Path) -> String {
    let Ok(text) = std::fs::read(path) else { return "no log".to_owned() };
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    let mut lines: VecDeque<&str> = tail.lines().collect();
    while lines.len() > 3 {
        lines.pop_front();
    }
    lines.make_contiguous().join(" | ")
}

/// Looks in PATH and where distributions put system programs.
fn find(program: &'static str, package: &'static str) -> Result<PathBuf, LaunchError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .ok_or(LaunchError::Missing { program, package })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_names_own_paths_and_disables_cri() {
        let paths = Paths { root: "/data/agent/\"x".into(), run: "/run/orch".into() };
        let text = configuration(&paths);
        assert!(text.contains("root = \"/data/agent/\\\"x/root\""), "{text}");
        assert!(text.contains("address = \"/run/orch/containerd.sock\""), "{text}");
        assert!(text.contains("\"io.containerd.grpc.v1.cri\","), "{text}");
    }
}
