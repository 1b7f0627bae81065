//! Taking down what orch left on the machine, whoever is still alive: containers, containerd, mounts,
//! links, routes, packet rules and control groups. Everything is recognised by what orch itself named (its run
//! directory, data directory and control group), never by guessing. Errors are collected, not stopped at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::config::HostArgs;
use crate::net::overlay::kernel;
use crate::net::{self, nft::KernelTable};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// All our links and packet tables begin with it.
pub const PREFIX: &str = "orch";
const CGROUPS: &str = "/sys/fs/cgroup";

/// What could not be taken down.
pub type Leftovers = Vec<String>;

/// Ends everything that runs or lives in the kernel; files stay.
pub async fn kernel_state(host: &HostArgs) -> Leftovers {
    let mut left = Leftovers::new();
    end_processes(host, &mut left);
    for mount in mounts_below(&[&host.run_dir, &host.data_dir]) {
        if let Err(error) = unmount(&mount, UnmountFlags::DETACH) {
            left.push(format!("mount {}: {error}", mount.display()));
        }
    }
    for link in net::links::named(PREFIX).unwrap_or_default() {
        if let Err(error) = net::links::remove(&link) {
            left.push(format!("link {link}: {error}"));
        }
    }
    // Those of links that are not ours; with our own links theirs have gone.
    for range in routes() {
        if let Err(error) = kernel::remove_route(range) {
            left.push(format!("route to {range}: {error}"));
        }
    }
    for table in tables() {
        if let Err(error) = KernelTable::open(&table).and_then(|mut table| table.remove()) {
            left.push(format!("packet table {table}: {error}"));
        }
    }
    for group in control_groups(&host.cgroup_root) {
        remove_tree(&group, &mut left);
    }
    left
}

fn routes() -> Vec<ipnet::Ipv4Net> {
    kernel::routes().unwrap_or_default()
}

/// Our packet tables; only names are read, never rules.
fn tables() -> Vec<String> {
    let all = net::nft::tables().unwrap_or_default();
    all.into_iter().filter(|name| name.starts_with(&format!("{PREFIX}-"))).collect()
}

/// What is still there of all that: for telling a person, and for tests.
pub async fn verify(host: &HostArgs) -> Leftovers {
    let mut left = Leftovers::new();
    left.extend(our_processes(host).into_iter().map(|pid| format!("process {}", pid.as_raw_nonzero())));
    let mounts = mounts_below(&[&host.run_dir, &host.data_dir]);
    left.extend(mounts.iter().map(|mount| format!("mount {}", mount.display())));
    left.extend(net::links::named(PREFIX).unwrap_or_default().iter().map(|link| format!("link {link}")));
    left.extend(routes().iter().map(|range| format!("route to {range}")));
    left.extend(tables().iter().map(|table| format!("packet table {table}")));
    left.extend(control_groups(&host.cgroup_root).iter().map(|group| format!("control group {}", group.display())));
    left
}

/// Kills containers first, so that their shims see them end; then shims and containerd.
fn end_processes(host: &HostArgs, left: &mut Leftovers) {
    for round in [contained(&host.cgroup_root), our_processes(host)] {
        for pid in round {
            if let Err(error) = kill_and_wait(pid) {
                left.push(format!("process {}: {error}", pid.as_raw_nonzero()));
            }
        }
    }
}

fn kill_and_wait(pid: Pid) -> rustix::io::Result<()> {
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error),
    };
    match pidfd_send_signal(&handle, Signal::KILL) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        other => other?,
    }
    let timeout = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout))? {
        0 => Err(rustix::io::Errno::TIMEDOUT),
        _ => Ok(()),
    }
}

/// Every process in a pod's control group.
fn contained(root: &str) -> Vec<Pid> {
    let mut found = BTreeSet::new();
    for group in control_groups(root) {
        walk(&group, &mut |dir| {
            let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.trim().parse::<i32>().ok()));
        });
    }
    found.into_iter().filter_map(Pid::from_raw).collect()
}

/// containerd and its shims, known by our run directory in their command lines.
fn our_processes(host: &HostArgs) -> Vec<Pid> {
    let ours = |pid: i32| {
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !name.starts_with("containerd") && !name.starts_with("runc") {
            return false;
        }
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = command.split(|byte| *byte == 0).map(|argument| Path::new(as_path(argument)));
        arguments.any(|argument| argument.starts_with(&host.run_dir) || argument.starts_with(&host.data_dir))
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| ours(*pid)).filter_map(Pid::from_raw).collect()
}

fn as_path(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Mount points below (or at) these folders, the innermost first.
pub fn mounts_below(dirs: &[&Path]) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    let mut found: Vec<PathBuf> = points.filter(|point| dirs.iter().any(|dir| point.starts_with(dir))).collect();
    found.reverse();
    found
}

/// The kernel writes space, tab, newline and backslash as octal.
fn unescape(text: &str) -> PathBuf {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        out.push(code.map_or('\\', char::from));
        rest = &rest[at + if code.is_some() { 4 } else { 1 }..];
    }
    out.push_str(rest);
    out.into()
}

/// Our root in the unified hierarchy and in each of v1.
fn control_groups(root: &str) -> Vec<PathBuf> {
    let base = Path::new(CGROUPS);
    let hierarchies = std::fs::read_dir(base).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let all = std::iter::once(base.to_owned()).chain(hierarchies).map(|hierarchy| hierarchy.join(root));
    // Joined controllers (cpu, cpuacct) are one hierarchy under several names: links count once.
    all.filter(|group| group.is_dir() && !group.parent().is_some_and(Path::is_symlink)).collect()
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        walk(&entry.path(), visit);
    }
    visit(dir);
}

/// Control groups are removed innermost first, and hold no files of their own.
fn remove_tree(group: &Path, left: &mut Leftovers) {
    walk(group, &mut |dir| {
        if let Err(error) = std::fs::remove_dir(dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            left.push(format!("control group {}: {error}", dir.display()));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b/c"), Path::new("/a b/c"));
        assert_eq!(unescape("/plain"), Path::new("/plain"));
        assert_eq!(unescape("/odd\\x"), Path::new("/odd\\x"));
    }

    #[test]
    fn a_walk_goes_innermost_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let mut seen = Vec::new();
        walk(dir.path(), &mut |d| seen.push(d.to_owned()));
        assert_eq!(seen, [dir.path().join("a/b"), dir.path().join("a"), dir.path().to_owned()]);
        let mut left = Leftovers::new();
        remove_tree(&dir.path().join("a"), &mut left);
        assert!(left.is_empty() && !dir.path().join("a").exists());
    }
}
