//! `orch uninstall`: removes everything that orch made on this machine, and checks that it is gone.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::config::HostArgs;
use super::{pidfile, teardown};

#[derive(Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub fn run(args: &UninstallArgs) -> anyhow::Result<()> {
    let host = &args.host;
    if !rustix::process::geteuid().is_root() {
        bail!("uninstalling needs root; start it with sudo");
    }
    if !args.yes && !confirmed(host)? {
        bail!("nothing was removed");
    }
    pidfile::stop(&host.run_dir, Duration::from_secs(60))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut left = runtime.block_on(teardown::kernel_state(host));
    remove_files(host, &mut left);
    left.extend(runtime.block_on(teardown::verify(host)));
    if !left.is_empty() {
        left.dedup();
        bail!("could not remove: {}", left.join("; "));
    }
    println!("orch: everything is removed");
    Ok(())
}

fn confirmed(host: &HostArgs) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("this removes the cluster in {}; say --yes to do it without a terminal", host.data_dir.display());
    }
    print!("This removes the cluster in {} with all its data. Go on? [y/N] ", host.data_dir.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Files last: nothing that could still write into them is alive.
fn remove_files(host: &HostArgs, left: &mut teardown::Leftovers) {
    for logs in pod_logs(host) {
        remove(&logs, left);
    }
    // Only folders that hold no mount any more: what is mounted is not ours to delete.
    for dir in [&host.data_dir, &host.run_dir] {
        match teardown::mounts_below(&[dir]).is_empty() {
            true => remove(dir, left),
            false => left.push(format!("{} (something is mounted in it)", dir.display())),
        }
    }
    remove(&host.write_kubeconfig, left);
    for emptied in [host.write_kubeconfig.parent(), Some(host.pod_log_dir.as_path())].into_iter().flatten() {
        // Somebody else's files may be there: then the folder stays.
        let _ = std::fs::remove_dir(emptied);
    }
}

/// The log folders of pods that this data directory knows, `<namespace>_<name>_<uid>`.
fn pod_logs(host: &HostArgs) -> Vec<PathBuf> {
    let names = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let uids = names(&host.data_dir.join("agent/pods"));
    let logs = names(&host.pod_log_dir);
    let ours = logs.into_iter().filter(|log| uids.iter().any(|uid| log.ends_with(&format!("_{uid}"))));
    ours.map(|log| host.pod_log_dir.join(log)).collect()
}

fn remove(path: &Path, left: &mut teardown::Leftovers) {
    let done = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    if let Err(error) = done
        && error.kind() != std::io::ErrorKind::NotFound
    {
        left.push(format!("{}: {error}", path.display()));
    }
}
