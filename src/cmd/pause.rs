//! `orch pause`: the first process of a PID namespace that the containers of a pod share. Takes in their orphans and
//! does nothing else.

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{SignalKind, signal};

pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut children = signal(SignalKind::child())?;
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        loop {
            tokio::select! {
                _ = children.recv() => while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {},
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    })
}
