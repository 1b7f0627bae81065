//! Where containers sit in the cgroup hierarchies (v1 and v2), and what the kernel counts there. Reads
//! only; runc makes and removes the groups.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::agent::runtime::{ContainerStats, Error};

const ROOT: &str = "/sys/fs/cgroup";

/// True when the unified hierarchy is the only one.
pub(super) fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

fn file(controller: &str, group: &str, name: &str) -> PathBuf {
    let base = if is_v2() { PathBuf::from(ROOT) } else { Path::new(ROOT).join(controller) };
    base.join(group.trim_start_matches('/')).join(name)
}

/// Whether the kernel has killed a process of this group for its memory.
pub(super) fn oom_killed(group: &str) -> bool {
    let (v1, v2) = ("memory.oom_control", "memory.events");
    let name = if is_v2() { v2 } else { v1 };
    let text = std::fs::read_to_string(file("memory", group, name)).unwrap_or_default();
    field(&text, "oom_kill").is_some_and(|count| count > 0)
}

pub(super) fn stats(group: &str) -> Result<ContainerStats, Error> {
    let read = |controller: &str, name: &str| {
        let path = file(controller, group, name);
        std::fs::read_to_string(&path).map_err(|error| Error::io(path, error))
    };
    let number = |text: String| text.trim().parse::<u64>().unwrap_or_default();
    let v2 = is_v2();
    let memory = read("memory", "memory.stat")?;
    let of = |v1: &str, v2_name: &str| field(&memory, if v2 { v2_name } else { v1 }).unwrap_or_default();
    let usage = number(read("memory", if v2 { "memory.current" } else { "memory.usage_in_bytes" })?);
    let cpu = if v2 {
        field(&read("cpu", "cpu.stat")?, "usage_usec").unwrap_or_default() * 1000
    } else {
        number(read("cpuacct", "cpuacct.usage")?)
    };
    Ok(ContainerStats {
        at: Timestamp::now(),
        cpu_nanoseconds: cpu,
        memory_usage: usage,
        memory_working_set: usage.saturating_sub(of("total_inactive_file", "inactive_file")),
        memory_rss: of("total_rss", "anon"),
        page_faults: of("total_pgfault", "pgfault"),
        major_page_faults: of("total_pgmajfault", "pgmajfault"),
        processes: read("pids", "pids.current").map(number).unwrap_or_default(),
    })
}

/// The number behind a name in a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_whole_names_only() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        assert_eq!(field(text, "oom_kill"), Some(2));
        assert_eq!(field(text, "oom"), None);
    }
}
