//! `scripts/install.sh`, below a folder instead of on this machine, and what its units start.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{Host, ORCH, PATIENCE, Running, require_root_and, run, told};

/// A folder with the script, the binary and an image, as they are carried to a machine without a network.
struct Kit {
    host: Host,
}

impl Kit {
    fn new() -> Self {
        let host = Host::new();
        let kit = host.dir.join("kit");
        std::fs::create_dir_all(&kit).expect("a folder");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh");
        std::fs::copy(script, kit.join("install.sh")).expect("the script");
        std::os::unix::fs::symlink(&*ORCH, kit.join("orch")).expect("the binary");
        std::fs::write(kit.join("an-image.tar"), "not read here").expect("an image");
        Self { host }
    }

    fn root(&self) -> PathBuf {
        self.host.dir.join("root")
    }

    fn config(&self) -> PathBuf {
        self.root().join("etc/orch/config.yaml")
    }

    fn unit(&self, role: &str) -> PathBuf {
        self.root().join(format!("etc/systemd/system/orch-{role}.service"))
    }

    fn install(&self, args: &[&str]) -> Output {
        let mut script = self.host.command(self.host.dir.join("kit/install.sh"));
        script.args(args).env("DESTDIR", self.root()).stdin(Stdio::null()).output().expect("a shell")
    }

    fn installed(&self, args: &[&str]) {
        let output = self.install(args);
        assert!(output.status.success(), "{args:?}: {}", told(&output));
    }
}

/// systemd's own opinion of a unit, with the program where the test has it.
fn verify(unit: &Path, root: &Path) {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let text = std::fs::read_to_string(unit).expect("a unit");
    let here = unit.with_file_name(format!("checked-{}", unit.file_name().expect("a name").to_string_lossy()));
    std::fs::write(&here, text.replace("/usr/local", &root.join("usr/local").display().to_string())).expect("a file");
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here).output().expect("it runs");
    std::fs::remove_file(&here).expect("the file");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", told(&output));
}

#[test]
fn an_agent_is_installed_from_what_lies_beside_the_script_needs_root() {
    require_root_and(&["shellcheck"]);
    run(Command::new("shellcheck").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh")));
    let kit = Kit::new();
    let output = kit.install(&["agent"]);
    assert!(!output.status.success() && told(&output).contains("an agent needs --join"), "{}", told(&output));
    let output = kit.install(&["agent", "--join", "https://10.0.0.1:6443"]);
    assert!(!output.status.success() && told(&output).contains("orch token create"), "{}", told(&output));

    let agent = ["agent", "--join", "https://10.0.0.1:6443", "--token", "K10x::a.b", "--data-dir", "/srv/orch"];
    kit.installed(&agent);
    let config = std::fs::read_to_string(kit.config()).expect("the configuration");
    assert!(config.ends_with("data-dir: /srv/orch\njoin: https://10.0.0.1:6443\ntoken: K10x::a.b\n"), "{config}");
    assert_eq!(kit.config().metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(kit.root().join("srv/orch/agent/images/an-image.tar").is_file());
    let unit = std::fs::read_to_string(kit.unit("agent")).expect("the unit");
    for line in
        ["Type=notify", "KillMode=process", "Restart=always", "Delegate=yes", "ExecStart=/usr/local/bin/orch agent"]
    {
        assert!(unit.lines().any(|found| found == line), "{line} in {unit}");
    }
    verify(&kit.unit("agent"), &kit.root());

    // Again, as for an update: what a person wrote stays.
    std::fs::write(kit.config(), format!("{config}node-label: [a=b]\n")).expect("the configuration");
    kit.installed(&["agent"]);
    assert!(std::fs::read_to_string(kit.config()).expect("the configuration").ends_with("node-label: [a=b]\n"));
    let output = kit.install(&["server"]);
    assert!(!output.status.success() && told(&output).contains("runs an orch agent"), "{}", told(&output));
}

#[test]
fn an_installed_server_tells_systemd_that_it_is_ready_needs_root() {
    let kit = Kit::new();
    let (dir, name) = (kit.host.dir.display(), &kit.host.name);
    let config = format!(
        "data-dir: {dir}/data\nrun-dir: /run/{name}\npod-log-dir: {dir}/logs\ncgroup-root: {name}\n\
         write-kubeconfig: {dir}/kubeconfig\ndisable-agent: true\n"
    );
    std::fs::create_dir_all(kit.config().parent().expect("a folder")).expect("a folder");
    std::fs::write(kit.config(), config).expect("the configuration");
    kit.installed(&[]);
    verify(&kit.unit("server"), &kit.root());

    // What systemd does with the unit.
    let socket = kit.host.dir.join("notify");
    let systemd = UnixDatagram::bind(&socket).expect("a socket");
    systemd.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut server = kit.host.command(kit.root().join("usr/local/bin/orch"));
    server.arg("server").env("ORCH_CONFIG", kit.config()).env("NOTIFY_SOCKET", &socket);
    let server = Running::start(server);
    let mut state = [0; 64];
    let length = systemd.recv(&mut state).expect("a word of the server");
    assert_eq!(&state[..length], b"READY=1");
    assert!(kit.host.dir.join("data/server").is_dir());

    kit.installed(&["--uninstall", "--yes"]);
    drop(server);
    for gone in [kit.host.dir.join("data"), kit.config(), kit.unit("server"), kit.root().join("usr/local/bin/orch")] {
        assert!(!gone.exists(), "{} is still there", gone.display());
    }
    let output = kit.install(&["--uninstall"]);
    assert!(!output.status.success() && told(&output).contains("say --yes"), "{}", told(&output));
}
