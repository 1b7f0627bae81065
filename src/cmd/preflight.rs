//! What must be true of the machine before anything starts: `orch doctor`'s judgement of what an agent needs. Each
//! failure is one line that says what is missing and how to mend it. Looks only; changes nothing but loading a kernel
//! module.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::doctor;

/// Checks a machine that is to run an agent. `own_containerd`: the agent will run containerd itself.
pub fn agent(own_containerd: bool) -> Result<()> {
    if let Some(failure) = doctor::needed(own_containerd).into_iter().find(|finding| finding.is_failure()) {
        bail!("{}", failure.sentence());
    }
    Ok(())
}

/// The full path of a program in PATH or in the usual places of system programs.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    std::env::split_paths(&path).chain(usual.map(PathBuf::from)).map(|dir| dir.join(name)).find(|file| file.is_file())
}
