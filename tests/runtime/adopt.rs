//! What survives a killed orch, a killed containerd, and a reboot.

use std::os::fd::OwnedFd;
use std::time::Duration;

use orch::agent::runtime::{ContainerState, Runtime, RuntimeEvent};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::support::{Node, exited, processes_naming};

#[tokio::test(flavor = "multi_thread")]
async fn running_containers_are_adopted_without_losing_a_line_needs_root() {
    let mut node = Node::with_busybox().await;
    let counting =
        "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); usleep 5000; done; printf tail; sleep 2; echo ' end'";
    let pid = node.run(&node.spec("c", counting)).await;
    for line in [60, 120, 180] {
        node.logged("c", &format!("stdout F line {line}")).await;
        node.restart_orch().await;
        let info = node.info("c").await;
        assert_eq!((info.state, info.pid), (ContainerState::Running, pid));
    }
    let mut events = node.runtime.events();
    if node.info("c").await.state == ContainerState::Running {
        assert_eq!(exited(&mut events, "c").await, 0);
    }
    let mut expected: Vec<String> = (0..400).map(|number| format!("stdout F line {number}")).collect();
    expected.push("stdout F tail end".into());
    assert_eq!(node.log("c"), expected);
    // The end is remembered, too.
    let before = node.info("c").await;
    node.restart_orch().await;
    assert_eq!(node.info("c").await, before);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_while_orch_was_away_is_found_needs_root() {
    let mut node = Node::with_busybox().await;
    let pid = node.run(&node.spec("c", "sleep 0.3; exit 9")).await;
    node.runtime.abandon().await;
    if let Ok(process) = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()) {
        ended(&process);
    }
    node.restart_orch().await;
    let mut events = node.runtime.events();
    let found = async {
        loop {
            let info = node.info("c").await;
            if info.state == ContainerState::Exited {
                return info;
            }
            // The shim tells containerd a moment after the process has ended.
            events.recv().await.unwrap();
        }
    };
    let info = tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
    assert_eq!((info.exit_code, info.reason.as_str()), (Some(9), "Error"));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_containerd_comes_back_and_containers_do_not_notice_needs_root() {
    let node = Node::with_busybox().await;
    let pid = node.run(&node.spec("c", "sleep 1000")).await;
    let quick = node.run(&node.spec("quick", "sleep 0.5; exit 6")).await;
    let mut events = node.runtime.events();
    let killed = rustix::process::Pid::from_raw(node.runtime.containerd_pid().await.unwrap()).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    let back = async { while events.recv().await.unwrap() != RuntimeEvent::Resync {} };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    let info = node.info("c").await;
    assert_eq!((info.state, info.pid), (ContainerState::Running, pid));
    let ended = async {
        while node.info("quick").await.state != ContainerState::Exited {
            let _ = events.recv().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!(node.info("quick").await.exit_code, Some(6), "pid {quick}");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_the_end_of_containers_is_unknown_needs_root() {
    let mut node = Node::with_busybox().await;
    node.run(&node.spec("c", "sleep 1000")).await;
    let socket = node.runtime.socket();
    node.runtime.stop().await;
    reboot(&socket);
    node.restart_orch().await;
    let info = node.info("c").await;
    assert_eq!((info.state, info.exit_code, info.reason.as_str()), (ContainerState::Unknown, Some(255), "Unknown"));
    node.runtime.remove("c").await.unwrap();
    node.run(&node.spec("c2", "true")).await;
    node.finish().await;
}

/// Kills a process, if it is there still; its descriptor becomes readable when it has ended.
fn kill(pid: i32) -> Option<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).ok()?;
    pidfd_send_signal(&process, Signal::KILL).ok()?;
    Some(process)
}

/// Waits for the end of a process, whose descriptor tells it.
fn ended(process: &OwnedFd) {
    let limit = Timespec { tv_sec: 20, tv_nsec: 0 };
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)).unwrap();
    assert_eq!(ended, 1, "a process does not die");
}

/// All processes and mounts of the node gone, /run empty.
fn reboot(socket: &std::path::Path) {
    let run = socket.parent().unwrap();
    let pids = |path: &str| -> Vec<i32> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let named = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let name = run.file_name().unwrap().to_string_lossy();
            String::from_utf8_lossy(&line).contains(path) || group.contains(&format!("orch-test-{name}"))
        };
        pids.filter(|pid| *pid != std::process::id().cast_signed()).filter(named).collect()
    };
    let dying: Vec<_> = pids(&run.to_string_lossy()).into_iter().filter_map(kill).collect();
    dying.iter().for_each(ended);
    assert_eq!(processes_naming(&run.to_string_lossy()), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if mount.starts_with(&*run.to_string_lossy()) {
            rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }
    for entry in std::fs::read_dir(run).unwrap().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
}
