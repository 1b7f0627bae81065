//! The agent's tunnel: a connection that it makes to the API server and keeps, by which the server reaches the node's
//! kubelet and pods where it has no other way (nodes behind translators). Begins anew whenever it ends, and never keeps
//! the agent from starting: nodes work without their server. Decides nothing about who may ask the kubelet for what.

mod connect;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::paths::Paths;
use crate::lifecycle::{Component, StartError};
use crate::reconcile::backoff::{Backoff, jittered};
use connect::connect;
use serve::serve;

/// Whether an address and port are one of this node's pods'.
pub type IsPod = Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// The API server, as seen from here.
#[derive(Clone)]
pub struct Server {
    /// A name or an address, which its certificate must have.
    pub host: String,
    pub port: u16,
    /// Trusts the cluster's CA and shows the node's client certificate, whatever it is by then.
    pub tls: Arc<rustls::ClientConfig>,
    /// Has the tunnel's connection.
    pub paths: Paths,
}

/// What the component is told.
#[derive(Clone)]
pub struct TunnelConfig {
    pub server: Server,
    /// On this machine's loopback.
    pub kubelet_port: u16,
    /// Nothing else is connected to, so that nobody who takes over the server's side gets into the node's network.
    pub is_pod: IsPod,
    /// The Node. Without one there is no tunnel.
    pub node: watch::Receiver<Option<Arc<Node>>>,
}

/// Between attempts.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// A tunnel that lived so long was none that ends as soon as it begins.
const STEADY: Duration = Duration::from_secs(10);

/// The component.
pub struct Tunnel {
    config: TunnelConfig,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Tunnel {
    pub fn new(config: TunnelConfig) -> Self {
        Self { config, stop: CancellationToken::new(), task: None }
    }
}

#[async_trait]
impl Component for Tunnel {
    fn name(&self) -> &'static str {
        "tunnel"
    }

    /// Does not wait for the server.
    async fn start(&mut self) -> Result<(), StartError> {
        self.task = Some(tokio::spawn(keep(self.config.clone(), self.stop.clone())));
        Ok(())
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            // It ends by itself, soon.
            let _ = task.await;
        }
    }
}

/// One tunnel after the other.
async fn keep(config: TunnelConfig, stop: CancellationToken) {
    let mut backoff = Backoff::new(FIRST, LONGEST);
    let mut told = false;
    loop {
        let mut node = config.node.clone();
        let connected = async {
            // Where nobody can tell any more, the server will.
            let _ = node.wait_for(Option::is_some).await;
            connect(&config.server).await
        };
        let opened = tokio::select! {
            opened = connected => opened,
            () = stop.cancelled() => return,
        };
        match opened {
            Ok(wire) => {
                tracing::info!(server = config.server.host, "the tunnel to the server is open");
                let begun = Instant::now();
                let ended = serve(wire, &config, &stop).await;
                if stop.is_cancelled() {
                    return;
                }
                tracing::info!(server = config.server.host, reason = ended, "the tunnel to the server ended");
                told = false;
                if begun.elapsed() >= STEADY {
                    backoff.succeeded(&());
                }
            }
            // Once: a server may be away for days.
            Err(error) if !told => {
                tracing::warn!(server = config.server.host, %error, "no tunnel to the server; trying again");
                told = true;
            }
            Err(error) => tracing::debug!(server = config.server.host, %error, "no tunnel to the server"),
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(backoff.failed(()))) => {}
            () = stop.cancelled() => return,
        }
    }
}
