//! The pod's own cgroup, above those of its containers: made with the pod's limits, removed with the pod. Knows
//! both hierarchies of the kernel; touches only what lies below our root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::agent::runtime::Resources;

const MOUNT: &str = "/sys/fs/cgroup";

/// Our part of the cgroup tree.
#[derive(Clone, Debug)]
pub struct Cgroups {
    mount: PathBuf,
    root: String,
    unified: bool,
}

impl Cgroups {
    /// `root` is the name of our top cgroup.
    pub fn new(root: &str) -> Self {
        Self::at(Path::new(MOUNT), root)
    }

    pub(super) fn at(mount: &Path, root: &str) -> Self {
        Self { mount: mount.to_owned(), root: root.to_owned(), unified: mount.join("cgroup.controllers").exists() }
    }

    /// Makes the pod's cgroup with its limits. `parent` is [`super::qos::cgroup_parent`].
    pub fn create(&self, parent: &str, limits: &Resources) -> io::Result<()> {
        if self.unified { self.create_unified(parent, limits) } else { self.create_split(parent, limits) }
    }

    /// Removes what is left of the pod's cgroup in every hierarchy, whatever its class was.
    pub fn remove_pod(&self, uid: &str) -> io::Result<()> {
        for base in self.hierarchies()? {
            for class in ["", "burstable", "besteffort"] {
                remove_tree(&base.join(&self.root).join(class).join(format!("pod{uid}")))?;
            }
        }
        Ok(())
    }

    fn hierarchies(&self) -> io::Result<Vec<PathBuf>> {
        if self.unified {
            return Ok(vec![self.mount.clone()]);
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.mount)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    fn create_split(&self, parent: &str, limits: &Resources) -> io::Result<()> {
        let dir = |controller: &str| self.mount.join(controller).join(&self.root).join(parent);
        let cpu = dir("cpu");
        fs::create_dir_all(&cpu)?;
        if parent.starts_with("besteffort/") {
            write(&self.mount.join("cpu").join(&self.root).join("besteffort"), "cpu.shares", 2)?;
        }
        if let Some(shares) = limits.cpu_shares {
            write(&cpu, "cpu.shares", shares)?;
        }
        if let Some(quota) = limits.cpu_quota {
            write(&cpu, "cpu.cfs_period_us", limits.cpu_period.unwrap_or(100_000))?;
            write(&cpu, "cpu.cfs_quota_us", quota)?;
        }
        if let Some(limit) = limits.memory_limit {
            let memory = dir("memory");
            fs::create_dir_all(&memory)?;
            write(&memory, "memory.limit_in_bytes", limit)?;
        }
        Ok(())
    }

    fn create_unified(&self, parent: &str, limits: &Resources) -> io::Result<()> {
        let mut dir = self.mount.clone();
        for part in [self.root.as_str()].into_iter().chain(parent.split('/')) {
            delegate(&dir);
            dir.push(part);
            if !dir.exists() {
                fs::create_dir(&dir)?;
            }
        }
        delegate(&dir);
        if parent.starts_with("besteffort/") {
            write(&self.mount.join(&self.root).join("besteffort"), "cpu.weight", 1)?;
        }
        if let Some(shares) = limits.cpu_shares {
            write(&dir, "cpu.weight", weight(shares))?;
        }
        if let Some(quota) = limits.cpu_quota {
            write(&dir, "cpu.max", format!("{quota} {}", limits.cpu_period.unwrap_or(100_000)))?;
        }
        if let Some(limit) = limits.memory_limit {
            write(&dir, "memory.max", limit)?;
        }
        Ok(())
    }
}

/// Shares (2 … 262144, usually 1024) as the unified hierarchy's weight (1 … 10000, usually 100): the curve through
/// these three that upstream's cgroups library draws. (runc before 1.3.2 has a line, which gives 39 for 1024.)
pub fn weight(shares: u64) -> u64 {
    let exponent = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

/// Lets the children have the controllers; one that the kernel lacks is not worth failing for.
fn delegate(dir: &Path) {
    for controller in ["cpu", "memory", "pids", "io", "cpuset"] {
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn write(dir: &Path, file: &str, value: impl std::fmt::Display) -> io::Result<()> {
    let path = dir.join(file);
    fs::write(&path, value.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_unified_hierarchy_wants_them() {
        let mount = tempfile::tempdir().unwrap();
        let root = mount.path();
        fs::write(root.join("cgroup.controllers"), "cpu memory pids").unwrap();
        let cgroups = Cgroups::at(root, "orch");
        let limits = Resources {
            cpu_shares: Some(1024),
            cpu_quota: Some(150_000),
            cpu_period: Some(100_000),
            memory_limit: Some(64 << 20),
            pids_limit: None,
        };
        let cases = [
            ("podu", &limits, Some("100"), Some("150000 100000"), Some("67108864")),
            ("burstable/podv", &Resources { cpu_shares: Some(2), ..Resources::default() }, Some("1"), None, None),
            ("besteffort/podw", &Resources::default(), None, None, None),
        ];
        for (parent, limits, weight, max, memory) in cases {
            cgroups.create(parent, limits).unwrap();
            let read = |file: &str| fs::read_to_string(root.join("orch").join(parent).join(file)).ok();
            let found = ["cpu.weight", "cpu.max", "memory.max"].map(read);
            assert_eq!(found, [weight, max, memory].map(|value| value.map(str::to_owned)), "{parent}");
        }
        assert_eq!(fs::read_to_string(root.join("orch/besteffort/cpu.weight")).unwrap(), "1");
        // Every level above a pod's containers hands the controllers on.
        for level in ["", "orch", "orch/burstable", "orch/burstable/podv"] {
            assert!(root.join(level).join("cgroup.subtree_control").exists(), "{level}");
        }
    }

    #[test]
    fn weights_are_those_of_upstream() {
        assert_eq!(
            [0, 2, 3, 102, 256, 1024, 2048, 262_144, 1 << 20].map(weight),
            [1, 1, 2, 17, 35, 100, 174, 10_000, 10_000]
        );
    }
}
