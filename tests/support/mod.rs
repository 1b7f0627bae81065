//! What the end-to-end tests share: hosts (network namespaces of their own), a cluster on them, agents that join it, and
//! the real kubectl. Everything that a test makes is removed when it ends, also when it fails.

#![allow(dead_code, reason = "each test crate uses a part")]

mod agent;
mod cluster;
mod daemon;
mod host;
mod registry;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use agent::AgentNode;
pub use cluster::Cluster;
pub use daemon::Daemon;
pub use host::{Host, Lan};
pub use registry::Registry;

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

pub static ORCH: LazyLock<String> =
    LazyLock::new(|| std::env::var("ORCH_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_orch").to_owned()));

/// Panics when `what` did not happen before the deadline that began at `since`.
pub fn within(since: Instant, limit: Duration, what: &str) {
    let took = since.elapsed();
    assert!(took <= limit, "{what} took {took:?}");
}

/// Waits until `done`, which the test can only look at; panics where that takes longer than [`PATIENCE`].
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        within(begun, PATIENCE, what);
        #[expect(
            clippy::disallowed_methods,
            reason = "what is asked has no events; it is tried again until the deadline"
        )]
        std::thread::sleep(Duration::from_millis(50));
    }
}
