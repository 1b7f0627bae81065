//! After `orch uninstall` the machine is as before.

use std::process::Command;

use crate::support::{Cluster, run, told};

/// Everything that orch could have left, as the machine's own tools tell it.
fn traces(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    // The host's own network namespace is the test's.
    let ours = |line: &&str| line.contains(&cluster.host.name) && !line.contains("/run/netns/");
    found.extend(mounts.lines().filter(ours).map(str::to_owned));
    let links = run(Command::new("ip").args(["-n", &cluster.host.name, "-br", "link"]));
    found.extend(links.lines().filter(|line| line.starts_with("orch")).map(str::to_owned));
    let tables = run(cluster.host.command("nft").args(["list", "tables"]));
    found.extend(tables.lines().filter(|line| line.contains("orch")).map(str::to_owned));
    let processes = run(Command::new("ps").args(["-eo", "args"]));
    found.extend(
        processes.lines().filter(|l| l.contains(&cluster.host.name) && l.contains("containerd")).map(str::to_owned),
    );
    let groups = run(Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", &cluster.host.name]));
    found.extend(groups.lines().map(str::to_owned));
    for dir in [cluster.run_dir(), cluster.host.dir.join("data"), cluster.kubeconfig()] {
        found.extend(dir.exists().then(|| dir.display().to_string()));
    }
    found
}

#[test]
fn uninstall_leaves_nothing_needs_root() {
    let cluster = Cluster::start();
    cluster.hello();
    assert!(traces(&cluster).len() > 8, "the test sees what is there: {:?}", traces(&cluster));
    let output = cluster.orch(&["uninstall", "--yes"]);
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(traces(&cluster), Vec::<String>::new());
}

#[test]
fn bad_starts_say_how_to_mend_them_in_one_line_needs_root() {
    let cluster = Cluster::start();
    let again = cluster.host.command(&*crate::support::ORCH).arg("server").args(cluster.host_flags()).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(told(&again).contains("is running already"), "{}", told(&again));

    let elsewhere = cluster.host.dir.join("elsewhere");
    let flags =
        ["--data-dir", "--run-dir", "--pod-log-dir"].map(|flag| format!("{flag}={}", elsewhere.join(flag).display()));
    let server = |more: &[&str]| {
        let mut command = cluster.host.command(&**crate::support::ORCH);
        command.arg("server").args(&flags).arg(format!("--write-kubeconfig={}", elsewhere.join("k").display()));
        command.args(["--disable-agent"]).args(more).output().unwrap()
    };
    let taken = server(&[]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(told(&taken).contains("port 6443 is in use"), "{}", told(&taken));
    let unknown = server(&["--data-dirr=/x"]);
    assert!(!unknown.status.success() && told(&unknown).contains("--data-dir"), "{}", told(&unknown));

    // A machine without containerd, and a person without root.
    let flags = flags.join(" ");
    let hide =
        format!("mount --bind /dev/null $(command -v containerd); exec {} server {flags}", *crate::support::ORCH);
    let hidden = cluster.host.command("unshare").args(["-m", "sh", "-c", &hide]).output().unwrap();
    let said = "orch: containerd is not in PATH; install it with: apt-get install containerd\n";
    assert_eq!((hidden.status.code(), String::from_utf8_lossy(&hidden.stderr).as_ref()), (Some(1), said));
    let plain = format!("exec setpriv --reuid=65534 --clear-groups {} server {flags}", *crate::support::ORCH);
    let plain = cluster.host.command("sh").args(["-c", &plain]).output().unwrap();
    assert!(told(&plain).contains("orch: an agent must run as root; start it with sudo"), "{}", told(&plain));
}
