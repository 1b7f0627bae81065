//! `orch stop`: ends the server; with `--all` its pods too.

use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::config::HostArgs;
use super::{pidfile, teardown};

#[derive(Args)]
pub struct StopArgs {
    #[command(flatten)]
    host: HostArgs,
    /// Take the pods down as well; otherwise they go on running and are adopted at the next start.
    #[arg(long)]
    all: bool,
}

pub fn run(args: &StopArgs) -> anyhow::Result<()> {
    let ran = pidfile::stop(&args.host.run_dir, Duration::from_secs(60))?;
    println!("{}", if ran { "orch: stopped" } else { "orch: was not running" });
    if args.all {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let left = runtime.block_on(teardown::kernel_state(&args.host));
        if !left.is_empty() {
            bail!("could not take down: {}", left.join("; "));
        }
        println!("orch: pods are down");
    }
    Ok(())
}
