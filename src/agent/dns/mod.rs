//! Cluster DNS, answered by every node for its own pods: names of Services and pods from what the node knows anyway,
//! everything else from the host's resolvers or from those that the administrator names. It listens on the cluster's
//! DNS address, which the node holds on a link of its own, so pods reach it without any translation and no pod has to
//! run for it. Never forwards names of the cluster.

mod cache;
mod exchange;
mod follow;
mod forward;
mod hosts;
mod index;
mod listen;
mod message;
mod metrics;
mod pool;
mod resolv;
mod respond;
mod settings;
#[cfg(test)]
mod upstream_tests;
mod zone;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_proto::rr::{LowerName, Name};
use ipnet::Ipv4Net;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::services::Services;
use crate::lifecycle::{Component, StartError};
use crate::net::node_link;
use crate::reconcile::clock::Clock;
use crate::reconcile::events::EventSink;
use listen::Sockets;
pub use metrics::Metrics;
use resolv::Resolv;
use respond::{Responder, Route, Routes};
use settings::{Own, Settings};
use zone::Zone;

const PORT: u16 = 53;

/// What DNS is told.
#[derive(Clone)]
pub struct DnsConfig {
    /// For the ConfigMap, and for Events about it.
    pub client: Client,
    pub node_name: String,
    /// Shared with whoever else looks at Services on this node.
    pub services: Services,
    pub cluster_dns: Ipv4Addr,
    pub cluster_domain: String,
    /// Addresses of pods and Services: their reverse names are answered here and not asked elsewhere.
    pub cluster_ranges: Vec<Ipv4Net>,
    /// The host's own `resolv.conf`; read again when it changes.
    pub resolv_conf: PathBuf,
    /// The link that holds the address is called `<prefix>-dns`.
    pub link_prefix: String,
    pub metrics: Arc<Metrics>,
    /// The folder in which the ConfigMap is remembered, if it is.
    pub memory: Option<PathBuf>,
}

/// The component.
pub struct Dns {
    config: DnsConfig,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Dns {
    pub fn new(config: DnsConfig) -> Self {
        Self { config, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    fn run(&self, sockets: Sockets, zone: Arc<Zone>, resolv: Resolv) {
        let config = &self.config;
        let world = Route::new(LowerName::new(&Name::root()), []);
        let nowhere = Routes { hosts: Default::default(), stubs: Vec::new(), world };
        let responder = Arc::new(Responder::new(zone.clone(), config.metrics.clone(), nowhere));
        let (sender, settings) = watch::channel(Settings::default());
        let recorder =
            EventSink::start(config.client.clone(), Clock::system()).recorder("dns", Some(&config.node_name));
        let own = Own { domain: config.cluster_domain.clone(), address: config.cluster_dns.into() };
        let address = SocketAddr::from((config.cluster_dns, PORT));
        let until_stopped = || self.stop.clone();
        self.tasks.spawn(until_stopped().run_until_cancelled_owned(follow::services(zone, config.services.clone())));
        self.tasks.spawn(until_stopped().run_until_cancelled_owned(follow::settings(
            follow::config_map(config.client.clone(), config.memory.as_deref()),
            own,
            recorder,
            sender,
        )));
        self.tasks.spawn(until_stopped().run_until_cancelled_owned(follow::routes(
            responder.clone(),
            address,
            resolv,
            settings,
        )));
        sockets.serve(&responder, &self.stop, &self.tasks);
    }
}

#[async_trait]
impl Component for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let config = &self.config;
        let address = SocketAddr::from((config.cluster_dns, PORT));
        let failed = |what: &str, error: &dyn std::fmt::Display| StartError::new("dns", format!("{what}: {error}"));
        let link = format!("{}-dns", config.link_prefix);
        node_link::ensure(&link, &[config.cluster_dns], &[])
            .map_err(|error| failed(&format!("link {link}"), &error))?;
        let sockets = Sockets::bind(address).await.map_err(|error| failed(&format!("listen on {address}"), &error))?;
        let zone =
            Zone::new(&config.cluster_domain, config.cluster_dns, &config.cluster_ranges, config.services.clone())
                .map_err(|error| failed("cluster domain", &error))?;
        let resolv = Resolv::new(config.resolv_conf.clone()).map_err(|error| failed("file notifications", &error))?;
        self.run(sockets, Arc::new(zone), resolv);
        Ok(())
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The lower-case labels of a name.
fn labels(name: &Name) -> Vec<String> {
    let lower: Name = name.to_lowercase();
    lower.iter().map(|label| String::from_utf8_lossy(label).into_owned()).collect()
}
