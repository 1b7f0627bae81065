//! What the end-to-end tests share: a host (a network namespace of its own), a cluster on it, and the
//! real kubectl. Everything that a test makes is removed when it ends, also when it fails.

#![allow(dead_code, reason = "each test crate uses a part")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take that has no deadline of its own.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command to its end and gives its output; panics where it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything a command said.
pub fn told(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The promises of `scripts/test.sh`: these tests fail, they do not skip, where something is missing.
pub fn require_root_and(programs: &[&str]) {
    assert!(rustix::process::geteuid().is_root(), "this test needs root; run it by scripts/test.sh");
    for program in programs {
        let found =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file());
        assert!(found, "this test needs {program}; scripts/setup.sh --test installs it");
    }
}

/// A machine of its own: a network namespace with an address, and folders that are removed with it.
pub struct Host {
    pub name: String,
    pub dir: PathBuf,
    pub ip: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Host {
    pub fn new() -> Self {
        let name = format!("orch-e2e-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).expect("a folder for the test");
        let ip = "10.99.0.1".to_owned();
        let host = Self { name, dir, ip };
        run(Command::new("ip").args(["netns", "add", &host.name]));
        host.ip_command(&["link", "set", "lo", "up"]);
        // The way out leads nowhere: nothing that a test sends leaves its namespace.
        host.ip_command(&["link", "add", "uplink", "type", "veth", "peer", "name", "outside"]);
        host.ip_command(&["link", "set", "outside", "up"]);
        host.ip_command(&["addr", "add", &format!("{}/24", host.ip), "dev", "uplink"]);
        host.ip_command(&["link", "set", "uplink", "up"]);
        host.ip_command(&["route", "add", "default", "via", "10.99.0.254"]);
        host
    }

    fn ip_command(&self, args: &[&str]) {
        run(Command::new("ip").args(["-n", &self.name]).args(args));
    }

    /// A command on this host: in its network, but with the mounts of the machine that lends it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }

    /// The body of an HTTP answer; `None` where there is none in time.
    pub fn http(&self, url: &str) -> Option<String> {
        let output = self.command("curl").args(["-s", "-f", "-m", "2", url]).output().expect("curl runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until nobody answers any more, at most for [`PATIENCE`]: curl itself asks again, once a second.
    pub fn refused_soon(&self, url: &str) {
        let until = "for n in $(seq 60); do curl -s -f -m 2 -o /dev/null \"$1\" || exit 0; sleep 1; done; exit 1";
        let output = self.command("sh").args(["-c", until, "sh", url]).output().expect("a shell");
        assert!(output.status.success(), "{url} still answers");
    }

    /// Tries an HTTP request until it succeeds, at most for [`PATIENCE`]: curl itself waits and tries again.
    pub fn http_soon(&self, url: &str) -> String {
        let retry =
            ["-s", "-f", "--retry", "600", "--retry-delay", "1", "--retry-all-errors", "--retry-max-time", "60"];
        run(self.command("curl").args(retry).args(["--connect-timeout", "1", url]))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A registry on loopback of a test's host, with a busybox in it.
pub struct Registry;

impl Registry {
    pub const ADDRESS: &str = "127.0.0.1:5000";
    pub const IMAGE: &str = "127.0.0.1:5000/test/busybox:latest";

    /// Serves on the host until the guard is dropped.
    pub fn serve(host: &Host) -> Serving {
        require_root_and(&["docker-registry"]);
        let config = host.dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{}\"}}\n",
            host.dir.join("registry").display(),
            Self::ADDRESS
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = host.command("docker-registry");
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let serving = Serving(command.spawn().expect("docker-registry runs"));
        host.http_soon(&format!("http://{}/v2/", Self::ADDRESS));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-images.sh");
        run(host.command(script).arg(host.dir.join("images")).arg(Self::ADDRESS));
        serving
    }
}

/// A process that is talked with; it ends with the test at the latest.
pub struct Running {
    pub child: Child,
    pub output: BufReader<ChildStdout>,
    pub errors: BufReader<ChildStderr>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (output, errors) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        Self { child, output: BufReader::new(output), errors: BufReader::new(errors) }
    }

    /// The next line that it writes, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Everything that it says from now to its end, which is waited for.
    pub fn rest(&mut self) -> (Option<i32>, String, String) {
        drop(self.child.stdin.take());
        let (mut output, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut output).expect("output");
        self.errors.read_to_string(&mut errors).expect("errors");
        (self.child.wait().expect("an end").code(), output, errors)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that ends with the test.
pub struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that `scripts/test-images.sh` made.
pub fn test_image(name: &str) -> String {
    let dir = std::env::var("ORCH_TEST_IMAGES")
        .unwrap_or_else(|_| format!("{}/target/test-images", env!("CARGO_MANIFEST_DIR")));
    let path = Path::new(&dir).join(name);
    assert!(path.exists(), "{} is missing; scripts/test-images.sh makes it", path.display());
    path.display().to_string()
}

pub const HELLO: &str = include_str!("../../manifests/examples/hello.yaml");

/// A pod that does nothing but be a client.
const CLIENT: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: client, image: "busybox:latest", imagePullPolicy: Never, command: [sleep, "3600"]}
"#;

/// A cluster of one node on a host.
pub struct Cluster {
    pub host: Host,
    server: Option<Child>,
    pub extra: Vec<String>,
}

pub static ORCH: LazyLock<String> =
    LazyLock::new(|| std::env::var("ORCH_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_orch").to_owned()));

impl Cluster {
    /// Starts a server and waits until its node is Ready.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    pub fn start_with(extra: &[&str]) -> Self {
        require_root_and(&["containerd", "runc", "nft", "kubectl", "curl", "nsenter", "ip"]);
        let extra = extra.iter().map(|&flag| flag.to_owned()).collect();
        let mut cluster = Self { host: Host::new(), server: None, extra };
        cluster.run_server();
        if !cluster.extra.iter().any(|flag| flag == "--disable-agent") {
            cluster.node_ready();
        }
        cluster
    }

    pub fn node_ready(&self) {
        self.kubectl(&["wait", "--for=create", "node/node-1", "--timeout=60s"]);
        self.kubectl(&["wait", "--for=condition=Ready", "node/node-1", "--timeout=60s"]);
    }

    /// The flags by which this cluster keeps to itself.
    pub fn host_flags(&self) -> Vec<String> {
        let (dir, name) = (self.host.dir.display(), &self.host.name);
        vec![
            format!("--data-dir={dir}/data"),
            format!("--run-dir={}", self.run_dir().display()),
            format!("--pod-log-dir={dir}/logs"),
            format!("--cgroup-root={name}"),
            format!("--write-kubeconfig={}", self.kubeconfig().display()),
        ]
    }

    pub fn run_dir(&self) -> PathBuf {
        Path::new("/run").join(&self.host.name)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.host.dir.join("kubeconfig")
    }

    pub fn log(&self) -> PathBuf {
        self.host.dir.join("orch.log")
    }

    /// Starts the server's process and waits until the API is ready.
    pub fn run_server(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("a log file");
        let mut command = self.host.command(&*ORCH);
        command.arg("server").args(self.host_flags()).args(["--node-name=node-1"]).args(&self.extra);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.server = Some(command.spawn().expect("the server starts"));
        let ready = format!("https://{}:6443/readyz", self.host.ip);
        let retry =
            ["-s", "-k", "-f", "--retry", "600", "--retry-delay", "0", "--retry-all-errors", "--retry-max-time", "60"];
        let answer = self.host.command("curl").args(retry).arg(&ready).output().expect("curl runs");
        assert!(answer.status.success(), "the server did not get ready: {}", self.log_text());
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").id()
    }

    /// Ends the server as a power cut would, but leaves its containers.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        server.kill().expect("a signal");
        server.wait().expect("an end");
    }

    /// SIGTERM, and the server's own end.
    pub fn stop(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        run(Command::new("kill").arg(server.id().to_string()));
        let status = server.wait().expect("an end");
        assert!(status.success(), "the server ended with {status}: {}", self.log_text());
    }

    /// The real kubectl; panics with what it said where it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        assert!(output.status.success(), "kubectl {args:?}: {}\n--- server:\n{}", told(&output), self.tail());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn try_kubectl(&self, args: &[&str]) -> Output {
        let mut command = self.host.command("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.host.dir);
        command.args(args).stdin(Stdio::null()).output().expect("kubectl runs")
    }

    /// kubectl that goes on beside the test, with pipes.
    pub fn start_kubectl(&self, args: &[&str]) -> Running {
        self.start_kubectl_with(args, &[])
    }

    /// As above, with variables of its environment.
    pub fn start_kubectl_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.host.command("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.host.dir).args(args);
        command.envs(variables.iter().copied());
        Running::start(command)
    }

    /// kubectl with a manifest on its standard input.
    pub fn kubectl_with(&self, args: &[&str], manifest: &str) -> String {
        use std::io::Write as _;
        let mut command = self.host.command("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &self.host.dir).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        child.stdin.take().expect("a pipe").write_all(manifest.as_bytes()).expect("kubectl reads");
        let output = child.wait_with_output().expect("kubectl ends");
        assert!(output.status.success(), "kubectl {args:?}: {}\n--- server:\n{}", told(&output), self.tail());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The demo, rolled out.
    pub fn hello(&self) {
        self.apply(HELLO);
        self.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    }

    /// A pod with a shell, called `client`, ready.
    pub fn client(&self) {
        self.apply(CLIENT);
        self.kubectl(&["wait", "--for=condition=Ready", "pod/client", "--timeout=60s"]);
    }

    /// `busybox:latest`, from an archive.
    pub fn import_busybox(&self) {
        let output = self.orch(&["image", "import", &test_image("busybox-docker.tar")]);
        assert!(output.status.success(), "import: {}", told(&output));
    }

    /// The host's number of the first process of a pod's container, known by its environment.
    pub fn process_of(&self, pod: &str) -> u32 {
        let wanted = format!("POD_NAME={pod}");
        let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut found = pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
        });
        found.next().unwrap_or_else(|| panic!("no process has {wanted}"))
    }

    /// What a power cut does to everything but the disk: processes, mounts, links, rules, run directory.
    pub fn power_cycle(&self) {
        let output = self.orch(&["stop", "--all"]);
        assert!(output.status.success(), "{}", told(&output));
        let _ = std::fs::remove_dir_all(self.run_dir());
    }

    pub fn apply(&self, manifest: &str) {
        self.kubectl_with(&["apply", "-f", "-"], manifest);
    }

    /// `orch SUBCOMMAND` on this host.
    pub fn orch(&self, args: &[&str]) -> Output {
        self.host.command(&*ORCH).args(args).args(self.host_flags_for(args)).output().expect("orch runs")
    }

    fn host_flags_for(&self, args: &[&str]) -> Vec<String> {
        let own = ["stop", "uninstall", "image"].contains(args.first().unwrap_or(&""));
        if own { self.host_flags() } else { Vec::new() }
    }

    fn tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = Command::new("kill").arg(server.id().to_string()).output();
            let _ = server.wait();
        }
        let output = self.orch(&["uninstall", "--yes"]);
        if std::thread::panicking() {
            eprintln!("--- server:\n{}", self.tail());
        } else {
            assert!(output.status.success(), "uninstall: {}", told(&output));
        }
        let _ = std::fs::remove_dir_all(self.run_dir());
    }
}

/// Panics when `what` did not happen before the deadline that began at `since`.
pub fn within(since: Instant, limit: Duration, what: &str) {
    let took = since.elapsed();
    assert!(took <= limit, "{what} took {took:?}");
}
