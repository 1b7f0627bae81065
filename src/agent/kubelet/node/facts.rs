//! What this machine is: versions and ids from /proc, /sys and /etc, its size, and whether it is under pressure.

use std::fs;
use std::path::Path;

use super::super::host::Capacity;

/// What does not change while we run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    pub architecture: String,
    pub kernel: String,
    pub os_image: String,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Machine {
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        Self {
            architecture: go_architecture(&uname.machine().to_string_lossy()).to_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            os_image: os_image(&line("/etc/os-release")),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: super::super::record::boot_id(),
        }
    }
}

/// The kernel's name for the machine in Go's words, which Kubernetes uses.
fn go_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" => "arm",
        "i686" | "i386" => "386",
        other => other,
    }
}

fn os_image(os_release: &str) -> String {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    value("PRETTY_NAME=").or_else(|| value("NAME=")).unwrap_or_else(|| "Linux".to_owned())
}

/// The machine's size; `data` is on the file system that holds containers.
pub fn capacity(data: &Path) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let disk = rustix::fs::statvfs(data).map_or(0, |fs| fs.f_frsize.saturating_mul(fs.f_blocks));
    Capacity {
        cpu_milli: i64::try_from(cpus).unwrap_or(1) * 1000,
        memory: meminfo(&line("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        storage: i64::try_from(disk).unwrap_or(i64::MAX),
        pods: 110,
    }
}

/// Bytes.
fn meminfo(text: &str, key: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: i64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What is running short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    pub memory: bool,
    pub disk: bool,
    pub pids: bool,
}

/// 100 MiB of memory, as upstream's default; a twentieth of the disk, since a tenth of today's disks is no shortage.
/// `data` is on the file system that holds containers.
pub fn pressure(data: &Path) -> Pressure {
    let available = meminfo(&line("/proc/meminfo"), "MemAvailable:");
    let disk = rustix::fs::statvfs(data).map(|fs| fs.f_bavail.saturating_mul(20) < fs.f_blocks);
    let limit: Option<u64> = line("/proc/sys/kernel/pid_max").parse().ok();
    let tasks = line("/proc/loadavg");
    let tasks: Option<u64> =
        tasks.split(' ').nth(3).and_then(|field| field.split_once('/')).and_then(|(_, all)| all.parse().ok());
    Pressure {
        memory: available.is_some_and(|bytes| bytes < 100 << 20),
        disk: disk.unwrap_or(false),
        pids: limit.zip(tasks).is_some_and(|(limit, tasks)| tasks * 10 > limit * 9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_their_texts() {
        assert_eq!(os_image("NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n"), "Debian GNU/Linux 12");
        assert_eq!(meminfo("MemTotal:  2048 kB\nMemFree: 1 kB", "MemTotal:"), Some(2 << 20));
        assert_eq!(go_architecture("aarch64"), "arm64");
        let here = Machine::read();
        assert!(!here.kernel.is_empty() && !here.boot_id.is_empty());
    }
}
