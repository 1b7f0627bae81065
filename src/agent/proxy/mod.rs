//! The service proxy: connections to a Service reach one of its endpoints. It follows Services and EndpointSlices and
//! keeps the kernel's rules in step, each change as one small transaction of what changed. Never sees a packet,
//! never touches rules outside its own table, and leaves the rules in place when it stops.

mod answering;
mod endpoints;
mod firewall;
mod health;
mod healthz;
mod ledger;
mod node_ports;
mod own_node;
mod plan;
mod planner;
mod progress;
mod skeleton;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::nodes::Nodes;
use crate::agent::services::{Key, Services, View};
use crate::lifecycle::{Component, StartError};
use crate::net::nft::model::{Protocol, Table};
use crate::net::nft::watch::Deletions;
use crate::net::nft::{self, KernelTable, diff};
use crate::net::node_address::NodeAddress;
use crate::net::{conntrack, node_link};
use crate::reconcile::clock::Clock;
use crate::reconcile::events::EventSink;
use health::HealthPorts;
pub use node_ports::{NodePortAddresses, Wish};
use planner::{Planner, Targets};
use progress::Progress;

/// What the proxy is told.
#[derive(Clone)]
pub struct ProxyConfig {
    /// For events.
    pub client: Client,
    pub nodes: Nodes,
    /// Shared with whoever else looks at Services on this node.
    pub services: Services,
    pub node_name: String,
    /// The address that the host uses towards Services.
    pub node_address: NodeAddress,
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    /// Left alone: the agent answers there itself.
    pub cluster_dns: Option<Ipv4Addr>,
    pub node_ports: NodePortAddresses,
    /// Where the proxy tells how it is.
    pub healthz: SocketAddr,
    /// The table and the link are called `<prefix>-svc`.
    pub table_prefix: String,
}

/// The component.
pub struct ServiceProxy {
    config: ProxyConfig,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ServiceProxy {
    pub fn new(config: ProxyConfig) -> Self {
        Self { config, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }
}

#[async_trait]
impl Component for ServiceProxy {
    fn name(&self) -> &'static str {
        "service-proxy"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let failed = |error: &dyn std::fmt::Display| StartError::new("service-proxy", error);
        let name = format!("{}-svc", self.config.table_prefix);
        let kernel = KernelTable::open(&name).map_err(|error| failed(&error))?;
        let deletions = Deletions::listen(&name, kernel.port()).map_err(|error| failed(&error))?;
        let address = self.config.node_address.clone();
        let way = Way { link: name, to: self.config.service_cidr, source: address.clone() };
        way.ensure();
        self.spawn(way.follow());
        let ProxyConfig { client, nodes, services, node_name, .. } = self.config.clone();
        let proxy = Proxy::new(kernel, &self.config);
        let (zone, zone_seen) = watch::channel(None);
        let (progress, progress_seen) = watch::channel(Progress::default());
        let recorder = EventSink::start(client, Clock::system()).recorder("kube-proxy", Some(&node_name));
        let health = HealthPorts::new(node_name, progress_seen.clone(), recorder);
        self.spawn(healthz::serve(self.config.healthz, nodes.clone(), progress_seen));
        self.spawn(own_node::follow_zone(nodes, zone));
        self.spawn(health.follow(services.clone()));
        self.spawn(run(proxy, services, deletions, Place { zone: zone_seen, address }, progress));
        Ok(())
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl ServiceProxy {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move { stop.run_until_cancelled_owned(work).await.unwrap_or_default() });
    }
}

/// A host without a default route could not even try to reach a Service, so they get a route to nowhere; packets are
/// translated before they take it.
struct Way {
    link: String,
    to: Ipv4Net,
    /// What the host calls itself towards Services.
    source: NodeAddress,
}

impl Way {
    async fn follow(mut self) {
        loop {
            self.source.changed().await;
            self.ensure();
        }
    }

    fn ensure(&self) {
        let Some(source) = self.source.v4() else { return };
        if let Err(error) = node_link::ensure(&self.link, &[], &[node_link::Route { to: self.to, source }]) {
            tracing::warn!(link = self.link, %error, "without a default route this host itself will not reach Services");
        }
    }
}

/// Where the node is: what endpoints are chosen by.
struct Place {
    zone: watch::Receiver<Option<String>>,
    address: NodeAddress,
}

impl Place {
    async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.zone.changed() => {}
            () = self.address.changed() => {}
        }
    }
}

async fn run(
    mut proxy: Proxy,
    services: Services,
    mut deletions: Deletions,
    mut place: Place,
    progress: watch::Sender<Progress>,
) {
    const LONGEST_WAIT: Duration = Duration::from_secs(30);
    services.wait_ready().await;
    let mut subscription = services.subscribe();
    let mut retry = None;
    loop {
        let changed = tokio::select! {
            changed = subscription.changed() => changed,
            () = place.changed() => {
                proxy.planner.set_place(place.zone.borrow_and_update().clone(), place.address.v4());
                // Every Service may have other endpoints now.
                subscription = services.subscribe();
                continue;
            }
            () = deletions.next() => {
                tracing::warn!(table = proxy.kernel.table().name, "somebody deleted our table; putting it back");
                proxy.kernel.distrust();
                HashSet::new()
            }
            () = wait(retry) => HashSet::new(),
        };
        progress.send_modify(|progress| progress.changed(Instant::now()));
        let views: Vec<_> = changed.into_iter().map(|key| (services.get(&key), key)).map(|(v, k)| (k, v)).collect();
        let worked = tokio::task::spawn_blocking(move || {
            let result = proxy.update(views);
            (proxy, result)
        });
        let Ok((returned, result)) = worked.await else { return };
        proxy = returned;
        retry = match result {
            Ok(()) => {
                progress.send_modify(|progress| progress.updated(Timestamp::now()));
                None
            }
            Err(error) => {
                tracing::error!(%error, "service rules");
                Some(retry.map_or(Duration::from_secs(1), |last: Duration| (last * 2).min(LONGEST_WAIT)))
            }
        };
    }
}

async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The kernel's table and what leads to it.
struct Proxy {
    kernel: KernelTable,
    planner: Planner,
    skeleton: Option<Table>,
    /// Old connections that wait for the rules that they would be led by.
    stale: Targets,
    /// Nobody was told yet that SCTP does not work here.
    sctp_untold: bool,
}

impl Proxy {
    fn new(kernel: KernelTable, config: &ProxyConfig) -> Self {
        let skeleton = Some(skeleton::table(&kernel.table().name, config.service_cidr, &config.node_ports));
        let node = plan::Node {
            name: config.node_name.clone(),
            zone: None,
            ip: config.node_address.v4().unwrap_or(Ipv4Addr::UNSPECIFIED),
            cluster_dns: config.cluster_dns,
        };
        Self {
            kernel,
            planner: Planner::new(node, config.cluster_cidr),
            skeleton,
            stale: Targets::new(),
            sctp_untold: true,
        }
    }

    /// Brings the kernel to the new state of some Services.
    fn update(&mut self, views: Vec<(Key, View)>) -> Result<(), nft::Error> {
        let mut changes = Vec::new();
        if let Some(skeleton) = self.skeleton.take() {
            changes.extend(diff::diff(self.kernel.table(), &skeleton).unwrap_or_default());
        }
        self.tell_of_sctp(&views);
        let chains = self.kernel.table().chains.keys().cloned().collect();
        let (planned, stale) = self.planner.plan(views, &chains, Instant::now());
        changes.extend(planned);
        self.stale.extend(stale);
        if changes.is_empty() && self.kernel.is_synced() {
            self.forget();
            return Ok(());
        }
        self.kernel.change(&changes)?;
        self.forget();
        Ok(())
    }

    /// Lets go of connections that lead to endpoints which are gone.
    fn forget(&mut self) {
        let stale = std::mem::take(&mut self.stale);
        if !stale.is_empty()
            && let Err(error) = conntrack::forget(&stale)
        {
            tracing::warn!(%error, "old UDP connections may still go to endpoints that are gone");
        }
    }

    /// Rules for SCTP are accepted by kernels that cannot carry them out; the rest works all the same.
    fn tell_of_sctp(&mut self, views: &[(Key, View)]) {
        let is_sctp = |(_, view): &&(Key, View)| {
            let ports = view.service.iter().flat_map(|service| &service.ports);
            ports.into_iter().any(|port| port.protocol == Protocol::Sctp)
        };
        if self.sctp_untold
            && let Some((key, _)) = views.iter().find(is_sctp)
        {
            self.sctp_untold = false;
            if !conntrack::follows_sctp() {
                let Key { namespace, name } = key;
                tracing::warn!(
                    %namespace, %name,
                    "this kernel does not follow SCTP (CONFIG_NF_CT_PROTO_SCTP): SCTP ports of Services will not work here"
                );
            }
        }
    }
}
