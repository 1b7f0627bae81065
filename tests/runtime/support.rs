//! A throw-away containerd with busybox imported, and short words for what every test does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use orch::agent::runtime::containerd::{Containerd, ContainerdConfig, LogLimits};
use orch::agent::runtime::{ContainerInfo, ContainerSpec, Namespaces, Runtime, RuntimeEvent, no_progress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use tokio::sync::broadcast::Receiver;

pub const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// Stands in for orch's own executable: small and static.
const BUILTIN_EXECUTABLE: &str = "/bin/busybox";
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Node {
    pub runtime: Arc<Containerd>,
    pub dir: tempfile::TempDir,
    run: tempfile::TempDir,
    pub cgroup_root: String,
    options: Options,
}

#[derive(Clone, Default)]
pub struct Options {
    pub insecure_registries: Vec<String>,
    pub builtin: bool,
}

impl Node {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        assert!(rustix::process::geteuid().is_root(), "the runtime tests need root");
        let dir = tempfile::tempdir().unwrap();
        // Short: a socket's path has at most 107 bytes.
        let run = tempfile::Builder::new().prefix("orch-rt").tempdir_in("/tmp").unwrap();
        let cgroup_root = format!("orch-test-{}", run.path().file_name().unwrap().to_string_lossy());
        let runtime = start(dir.path(), run.path(), &cgroup_root, &options).await;
        Self { runtime, dir, run, cgroup_root, options }
    }

    /// As above, with busybox.
    pub async fn with_busybox() -> Self {
        let node = Self::new().await;
        let names = node.runtime.import(&archives().join("busybox-docker.tar"), no_progress()).await.unwrap();
        assert_eq!(names, [BUSYBOX]);
        node
    }

    /// What a killed orch and its next start do: the old client is gone, containerd and the shims go on.
    pub async fn restart_orch(&mut self) {
        self.runtime.abandon().await;
        self.runtime = start(self.dir.path(), self.run.path(), &self.cgroup_root, &self.options).await;
    }

    pub fn spec(&self, id: &str, command: &str) -> ContainerSpec {
        ContainerSpec {
            id: id.into(),
            pod_uid: "pod-uid".into(),
            pod_name: "pod".into(),
            namespace: "default".into(),
            name: "main".into(),
            image: BUSYBOX.into(),
            command: vec!["/bin/sh".into(), "-c".into(), command.into()],
            namespaces: Namespaces { host_net: true, ..Namespaces::default() },
            cgroup_parent: "pod-uid".into(),
            log_path: Some(self.log_path(id)),
            ..ContainerSpec::default()
        }
    }

    pub fn log_path(&self, id: &str) -> PathBuf {
        self.dir.path().join("logs").join(id).join("0.log")
    }

    /// The log without its time stamps: `stdout F line`.
    pub fn log(&self, id: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.log_path(id)).unwrap_or_default();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    /// Waits until a line is in the log: the kernel tells of every write.
    pub async fn logged(&self, id: &str, line: &str) {
        let dir = self.log_path(id).parent().unwrap().to_owned();
        std::fs::create_dir_all(&dir).unwrap();
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&inotify, &dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE).unwrap();
        let since = std::time::Instant::now();
        while !self.log(id).iter().any(|known| known == line) {
            let left = PATIENCE.checked_sub(since.elapsed()).unwrap_or_else(|| panic!("{line:?} was not logged"));
            let inotify = inotify.try_clone().unwrap();
            let wait = move || {
                let limit = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: 0 };
                if poll(&mut [PollFd::new(&inotify, PollFlags::IN)], Some(&limit)).unwrap() > 0 {
                    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
                    inotify::Reader::new(&inotify, &mut buffer).next().unwrap();
                }
            };
            tokio::task::spawn_blocking(wait).await.unwrap();
        }
    }

    pub async fn run(&self, spec: &ContainerSpec) -> u32 {
        self.runtime.create(spec).await.unwrap();
        self.runtime.start(&spec.id).await.unwrap()
    }

    /// Runs to the end.
    pub async fn complete(&self, spec: &ContainerSpec) -> ContainerInfo {
        let mut events = self.runtime.events();
        self.run(spec).await;
        exited(&mut events, &spec.id).await;
        self.info(&spec.id).await
    }

    pub async fn info(&self, id: &str) -> ContainerInfo {
        self.runtime.container(id).await.unwrap().unwrap()
    }

    /// Removes every container, stops containerd, and checks that nothing is left.
    pub async fn finish(self) {
        for container in self.runtime.containers().await.unwrap() {
            self.runtime.remove(&container.id).await.unwrap();
        }
        self.runtime.stop().await;
        let run = self.run.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains(&run), "mounts left below {run}:\n{mounts}");
        assert_eq!(processes_naming(&run), Vec::<String>::new(), "processes left");
        remove_cgroups(&self.cgroup_root);
    }
}

async fn start(root: &Path, run: &Path, cgroup_root: &str, options: &Options) -> Arc<Containerd> {
    let config = ContainerdConfig {
        address: None,
        root: root.join("containerd"),
        run: run.to_owned(),
        namespace: "k8s.io".into(),
        cgroup_root: cgroup_root.into(),
        insecure_registries: options.insecure_registries.clone(),
        log_limits: LogLimits::default(),
        builtin: options.builtin.then(|| BUILTIN_EXECUTABLE.into()),
        preload: None,
    };
    Containerd::start(config).await.unwrap()
}

/// Waits for the end of a container.
pub async fn exited(events: &mut Receiver<RuntimeEvent>, id: &str) -> i32 {
    let wait = async {
        loop {
            match events.recv().await.expect("the runtime's events") {
                RuntimeEvent::Exited { id: which, exit_code, .. } if which == id => return exit_code,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{id} did not end"))
}

/// Built once per test run.
pub fn archives() -> PathBuf {
    use std::sync::OnceLock;
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("images-{}", std::process::id()));
        make_images(&dir, &[]);
        dir
    })
    .clone()
}

pub fn make_images(dir: &Path, arguments: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-images.sh");
    let status = Command::new(script).arg(dir).args(arguments).status().unwrap();
    assert!(status.success(), "scripts/test-images.sh: {status}");
}

/// Command lines that mention a path, other than this test's.
pub fn processes_naming(path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(line) = std::fs::read(entry.path().join("cmdline"))
            && entry.file_name() != *std::process::id().to_string()
        {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(path) {
                found.push(line);
            }
        }
    }
    found
}

fn remove_cgroups(name: &str) {
    let Ok(hierarchies) = std::fs::read_dir("/sys/fs/cgroup") else { return };
    let roots = hierarchies.flatten().map(|entry| entry.path().join(name));
    for root in roots.chain([Path::new("/sys/fs/cgroup").join(name)]).filter(|root| root.is_dir()) {
        remove_group(&root);
    }
}

fn remove_group(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    std::fs::remove_dir(group).unwrap_or_else(|error| panic!("{}: {error}", group.display()));
}
