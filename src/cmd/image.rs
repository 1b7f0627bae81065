//! `orch image`: the images on this node, beside the running agent.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::config::HostArgs;
use crate::agent::NAMESPACE;
use crate::agent::runtime::containerd::ImageClient;
use crate::agent::runtime::{Progress, no_progress};

#[derive(Args)]
pub struct ImageArgs {
    #[command(flatten)]
    host: HostArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Import the images of docker or OCI archives.
    Import {
        /// Archives, as `docker save` or `skopeo copy oci-archive:` write them.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// List the images that are here.
    Ls,
    /// Remove images by name.
    Rm {
        #[arg(required = true)]
        images: Vec<String>,
    },
}

pub fn run(args: &ImageArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(act(args))
}

async fn act(args: &ImageArgs) -> anyhow::Result<()> {
    let own = args.host.run_dir.join("containerd/containerd.sock");
    let socket = args.host.containerd_address.clone().unwrap_or(own);
    if !socket.exists() {
        bail!("containerd does not listen on {}; start orch first", socket.display());
    }
    let scratch = args.host.data_dir.join("agent/containerd/scratch");
    let images = ImageClient::connect(&socket, NAMESPACE, scratch).context("cannot reach containerd")?;
    match &args.action {
        Action::Import { archives } => {
            for archive in archives {
                let names = images.import(archive, progress()).await;
                let names = names.with_context(|| format!("cannot import {}", archive.display()))?;
                names.iter().for_each(|name| println!("imported {name}"));
            }
        }
        Action::Ls => {
            let mut lines = vec![["IMAGE", "ID", "SIZE"].map(str::to_owned).to_vec()];
            for image in images.list().await? {
                let id = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
                let names = if image.tags.is_empty() { image.digests } else { image.tags };
                lines.extend(names.into_iter().map(|name| vec![name, id.clone(), size(image.size)]));
            }
            print!("{}", super::kubectl::align(&lines));
        }
        Action::Rm { images: names } => {
            for name in names {
                images.remove(name).await.with_context(|| format!("cannot remove {name}"))?;
                println!("removed {name}");
            }
        }
    }
    Ok(())
}

/// A bar on a terminal, nothing elsewhere; drawn anew only when it would look different.
fn progress() -> Progress {
    const WIDTH: u64 = 40;
    if !std::io::stderr().is_terminal() {
        return no_progress();
    }
    let drawn = AtomicU64::new(u64::MAX);
    Arc::new(move |done, total| {
        let steps = (done.min(total) * WIDTH).checked_div(total).unwrap_or(0);
        if drawn.swap(steps, Ordering::Relaxed) != steps {
            let bar: String = (0..WIDTH).map(|at| if at < steps { '#' } else { '.' }).collect();
            let end = if done >= total { "\n" } else { "" };
            let mut terminal = std::io::stderr();
            // A terminal that went away shows nothing; the import goes on.
            let _ = write!(terminal, "\r[{bar}] {}{end}", size(total)).and_then(|()| terminal.flush());
        }
    })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes}B"),
        1_000..1_000_000 => format!("{:.1}kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}MB", bytes as f64 / 1e6),
        _ => format!("{:.1}GB", bytes as f64 / 1e9),
    }
}
