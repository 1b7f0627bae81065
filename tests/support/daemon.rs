//! One orch, a server or an agent, that keeps to a test's host: its folders, its own containerd, its own control groups.
//! Everything that it made is removed with it, which is tested thereby.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::{Host, ORCH, run, test_image, told};

pub struct Daemon {
    pub host: Host,
    process: Option<Child>,
}

impl Daemon {
    pub fn new(host: Host) -> Self {
        Self { host, process: None }
    }

    /// The flags by which this orch keeps to itself.
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

    pub fn data_dir(&self) -> PathBuf {
        self.host.dir.join("data")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.host.dir.join("kubeconfig")
    }

    pub fn log(&self) -> PathBuf {
        self.host.dir.join("orch.log")
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The end of the log.
    pub fn tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Starts the process, which writes to the log.
    pub fn spawn(&mut self, subcommand: &str, flags: &[String]) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("a log file");
        let mut command = self.host.command(&*ORCH);
        command.arg(subcommand).args(self.host_flags()).args(flags);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.process = Some(command.spawn().expect("orch starts"));
    }

    /// nsenter became orch, so that this is orch's own.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("orch runs").id()
    }

    /// Ends the process as a power cut would, but leaves its containers.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("orch runs");
        process.kill().expect("a signal");
        process.wait().expect("an end");
    }

    /// SIGTERM, and the process's own end.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("orch runs");
        run(Command::new("kill").arg(process.id().to_string()));
        let status = process.wait().expect("an end");
        assert!(status.success(), "orch ended with {status}: {}", self.log_text());
    }

    /// What a power cut does to everything but the disk: processes, mounts, links, rules, run directory.
    pub fn power_cycle(&self) {
        let output = self.orch(&["stop", "--all"]);
        assert!(output.status.success(), "{}", told(&output));
        let _ = std::fs::remove_dir_all(self.run_dir());
    }

    /// `orch SUBCOMMAND` on this host.
    pub fn orch(&self, args: &[&str]) -> Output {
        self.host.command(&*ORCH).args(args).args(self.flags_of(args)).output().expect("orch runs")
    }

    fn flags_of(&self, args: &[&str]) -> Vec<String> {
        let own = ["stop", "uninstall", "image", "token", "certificate"].contains(args.first().unwrap_or(&""));
        if own { self.host_flags() } else { Vec::new() }
    }

    /// `busybox:latest`, from an archive.
    pub fn import_busybox(&self) {
        let output = self.orch(&["image", "import", &test_image("busybox-docker.tar")]);
        assert!(output.status.success(), "import: {}", told(&output));
    }

    /// A program of the machine's in the network of a pod of this host.
    pub fn in_pod(&self, uid: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}/netns/{uid}/net", self.run_dir().display())).arg("--").arg(program);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").arg(process.id().to_string()).output();
            let _ = process.wait();
        }
        let output = self.orch(&["uninstall", "--yes"]);
        if std::thread::panicking() {
            eprintln!("--- {}:\n{}", self.host.name, self.tail());
        } else {
            assert!(output.status.success(), "uninstall: {}", told(&output));
        }
        let _ = std::fs::remove_dir_all(self.run_dir());
    }
}
