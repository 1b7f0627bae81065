//! What must be true of the machine before anything starts. Each failure is one line that says what is
//! missing and how to mend it. Looks only; changes nothing but loading a kernel module.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Checks a machine that is to run an agent. `own_containerd`: the agent will run containerd itself.
pub fn agent(own_containerd: bool) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("an agent must run as root; start it with sudo, or pass --disable-agent");
    }
    let containerd = [("containerd", "containerd"), ("containerd-shim-runc-v2", "containerd"), ("runc", "runc")];
    let needed = containerd.iter().filter(|_| own_containerd);
    for (program, package) in needed {
        if find_program(program).is_none() {
            bail!("{program} is not in PATH; install it with: apt-get install {package}");
        }
    }
    filesystem("overlay")?;
    cgroups(Path::new("/sys/fs/cgroup"))?;
    nf_tables()
}

/// The full path of a program in PATH or in the usual places of system programs.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    std::env::split_paths(&path).chain(usual.map(PathBuf::from)).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn filesystem(name: &str) -> Result<()> {
    let known = || {
        let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_whitespace().last() == Some(name))
    };
    if known() {
        return Ok(());
    }
    let _ = Command::new("modprobe").arg(name).stderr(Stdio::null()).status();
    if known() {
        return Ok(());
    }
    bail!("the kernel has no {name} filesystem; load it with: modprobe {name}")
}

/// cgroup v2 with its controllers, or v1 with each of them mounted.
fn cgroups(root: &Path) -> Result<()> {
    let unified = std::fs::read_to_string(root.join("cgroup.controllers"));
    let has = |name: &str| match &unified {
        Ok(controllers) => controllers.split_whitespace().any(|c| c == name),
        Err(_) => root.join(name).is_dir(),
    };
    for controller in ["cpu", "memory", "pids"] {
        if !has(controller) {
            bail!(
                "the {controller} cgroup controller is off; add \"cgroup_enable={controller}\" to the kernel's command line and reboot"
            );
        }
    }
    Ok(())
}

fn nf_tables() -> Result<()> {
    if let Err(error) = crate::net::nft::tables() {
        bail!("nf_tables does not work ({error}); load it with: modprobe nf_tables");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_controller_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cgroup.controllers"), "cpu pids").unwrap();
        let error = cgroups(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("the memory cgroup controller is off"), "{error}");
        std::fs::write(dir.path().join("cgroup.controllers"), "cpu io memory pids").unwrap();
        assert!(cgroups(dir.path()).is_ok());
    }
}
