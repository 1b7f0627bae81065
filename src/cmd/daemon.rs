//! What `orch server` and `orch agent` do alike as long-running processes: logging, the runtime, signals.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{notify, resident};
use crate::server::http::metrics::Burst;

/// Starts logging by `filter`, and gives the process's runtime.
pub fn runtime(filter: &str) -> anyhow::Result<Runtime> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).context("--log")?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // One provider for the whole process; a second call can only mean that it is there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Builder::new_multi_thread().enable_all().build()?)
}

/// The process does its work from now on. Of a server, `burst` tells when there was much.
pub fn ready(burst: Option<Arc<Burst>>) {
    notify::send("READY=1");
    tokio::spawn(resident::settle(burst));
}

/// SIGTERM or SIGINT.
pub struct End(Signal, Signal);

impl End {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    /// Waits until somebody wants the process to end.
    pub async fn wanted(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// Calls `then` at each SIGHUP.
pub fn on_hangup(then: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            then();
        }
    });
    Ok(())
}
