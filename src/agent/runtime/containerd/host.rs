//! What the machine is like, as far as a container's specification depends on it. Reads /dev and /proc.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::spec::{Host, HostDevice};
use super::{capabilities, cgroup};
use crate::agent::runtime::{Device, Error};

/// Directories of /dev that hold no devices of the machine.
const NOT_DEVICES: &[&str] = &["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// `devices`: whether to list all device nodes (a privileged container).
pub(super) fn observe(devices: bool) -> Host {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    let mut found = Vec::new();
    if devices {
        walk(Path::new("/dev"), &mut found);
    }
    Host {
        cgroup_v2: cgroup::is_v2(),
        // The first line is the heading.
        swap: swaps.lines().count() > 1,
        lowest_oom_score_adj: lowest_oom_score_adj(),
        all_capabilities: capabilities::known(),
        devices: found,
    }
}

/// Our own, where the kernel lets us not go below it.
fn lowest_oom_score_adj() -> Option<i32> {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    if effective & 1 << CAP_SYS_RESOURCE != 0 {
        return None;
    }
    std::fs::read_to_string("/proc/self/oom_score_adj").ok()?.trim().parse().ok()
}

fn walk(dir: &Path, found: &mut Vec<HostDevice>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if !NOT_DEVICES.iter().any(|skipped| name == *skipped) {
                walk(&path, found);
            }
        } else if name != "console" {
            found.extend(node(&path, &path));
        }
    }
}

fn node(host: &Path, inside: &Path) -> Option<HostDevice> {
    let metadata = std::fs::symlink_metadata(host).ok()?;
    let kind = match metadata.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return None,
    };
    Some(HostDevice {
        path: inside.to_string_lossy().into_owned(),
        kind,
        major: rustix::fs::major(metadata.rdev()),
        minor: rustix::fs::minor(metadata.rdev()),
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// The nodes a container asks for by name.
pub(super) fn asked_for(devices: &[Device]) -> Result<Vec<HostDevice>, Error> {
    let look = |device: &Device| {
        let real = device.host_path.canonicalize().map_err(|error| Error::io(&device.host_path, error))?;
        node(&real, &device.container_path)
            .ok_or_else(|| Error::Spec { message: format!("{} is not a device", device.host_path.display()) })
    };
    devices.iter().map(look).collect()
}
