//! The kubelet: makes the pods that the API binds to this node real, and tells the API what became of them.
//!
//! `pods` keeps one `worker` for each pod UID; the worker observes, asks `plan` (pure) what must start and stop,
//! has it carried out by `prepare`, `start`, `stop` and `teardown`, and publishes what `status` (pure) makes of it.
//! Speaks only the API and the trait `Runtime`. Composed by `agent`.

mod adopt;
#[cfg(test)]
mod away_tests;
mod certificates;
mod cgroup;
mod container;
mod downward;
mod env;
mod grpc;
mod handler;
mod host;
mod host_network;
mod http;
mod last_words;
mod logs;
mod model;
mod node;
mod pid_namespace;
mod plan;
#[cfg(test)]
mod plan_tests;
mod pods;
mod prepare;
mod probes;
mod pull;
mod qos;
mod record;
mod resize;
mod resolv;
mod sandbox;
mod server;
mod sources;
mod start;
mod starts;
mod status;
mod status_writer;
mod stop;
mod teardown;
mod volumes;
mod words;
mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use kube::Client;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::dns;
use crate::agent::nodes::{Nodes, pod_range};
use crate::agent::runtime::Runtime;
use crate::agent::services::Services;
use crate::client;
use crate::net::ipam::Ipam;
use crate::net::node_address::NodeAddress;
use crate::reconcile::Informer;
use crate::reconcile::clock::Clock;
use crate::reconcile::events::EventSink;
pub use certificates::Certificates;
use host::{Host, Settings};
use host_network::HostNetworkPods;
use node::{Identity, Machine, NodeReporter};
use pods::Pods;
use sandbox::KernelSandboxes;
pub use server::Credentials;

/// Everything the kubelet is told.
#[derive(Clone)]
pub struct Config {
    pub node_name: String,
    /// Where others reach this node; it may change.
    pub node_address: NodeAddress,
    pub nodes: Nodes,
    /// The pods that are bound to this node.
    pub pods: Informer<Pod>,
    pub node_labels: Vec<(String, String)>,
    pub node_taints: Vec<Taint>,
    /// `<data-dir>/agent`
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub log_dir: PathBuf,
    /// The name of our cgroup.
    pub cgroup_root: String,
    /// Where the kubelet's server listens.
    pub address: IpAddr,
    pub port: u16,
    pub credentials: Credentials,
    pub cluster_dns: Option<Ipv4Addr>,
    pub cluster_domain: String,
    /// Of the pods' devices.
    pub mtu: u32,
    /// What the node knows of Services, for environment variables.
    pub services: Services,
    /// Shown beside the kubelet's own.
    pub dns_metrics: Arc<dns::Metrics>,
    pub requests: Arc<client::Counts>,
    pub certificates: Certificates,
}

/// Containers created at the same time: enough to keep two cores busy with runc, few enough not to drown in it.
const STARTS: usize = 8;
const PROBES: usize = 64;

/// The running kubelet.
pub struct Kubelet {
    stop: CancellationToken,
    tasks: TaskTracker,
    addresses: watch::Receiver<Option<Arc<Ipam>>>,
    on_host: HostNetworkPods,
}

impl Kubelet {
    /// Begins to serve the node's pods and to report the node. Needs no server that answers: whatever is remembered of
    /// it is gone on with.
    pub async fn start(config: Config, client: Client, runtime: Arc<dyn Runtime>) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let events = EventSink::start(client.clone(), Clock::system());
        let recorder = events.recorder("kubelet", Some(&config.node_name));
        let pods_dir = config.data_dir.join("pods");
        std::fs::create_dir_all(&pods_dir)?;
        let capacity = node::capacity(&pods_dir);
        let (range, addresses) = watch::channel(None);
        let (netns, domain) = (config.run_dir.join("netns"), config.cluster_domain.clone());
        let sandboxes = KernelSandboxes::new(netns, domain, config.mtu, addresses.clone());
        let host = Arc::new(Host {
            settings: Settings {
                node_name: config.node_name.clone(),
                node_address: config.node_address.clone(),
                pods_dir,
                log_dir: config.log_dir.clone(),
                cluster_dns: config.cluster_dns,
                cluster_domain: config.cluster_domain.clone(),
            },
            capacity,
            client: client.clone(),
            runtime: runtime.clone(),
            sandboxes: Arc::new(sandboxes),
            cgroups: cgroup::Cgroups::new(&config.cgroup_root),
            sources: sources::Sources::new(client.clone(), &config.run_dir.join("objects")),
            services: config.services.clone(),
            dns_metrics: config.dns_metrics.clone(),
            requests: config.requests.clone(),
            certificates: config.certificates.clone(),
            recorder: recorder.clone(),
            puller: pull::Puller::new(runtime.clone()),
            starts: Semaphore::new(STARTS),
            probes: Semaphore::new(PROBES),
            probe_results: Default::default(),
            pod_starts: Default::default(),
            boot: record::boot_id(),
            statuses: Default::default(),
            claims: watch::Sender::default(),
        });
        let reporter = Arc::new(NodeReporter {
            client,
            identity: Identity {
                name: config.node_name.clone(),
                address: config.node_address.clone(),
                labels: config.node_labels.clone(),
                taints: config.node_taints.clone(),
                kubelet_port: config.port,
            },
            machine: Machine::read(),
            capacity,
            data_dir: config.data_dir.clone(),
            runtime,
            recorder,
            news: Arc::new(Notify::new()),
        });
        let on_host = HostNetworkPods { pods: config.pods.clone(), node_address: config.node_address.clone() };
        let kubelet = Self { stop, tasks, addresses, on_host };
        let (stop, tasks) = (kubelet.stop.clone(), &kubelet.tasks);
        let found = host.runtime.containers().await.map_err(std::io::Error::other)?;
        let pods = Pods::new(host.clone(), config.pods.clone(), found, stop.clone());
        let book = AddressBook { nodes: config.nodes.clone(), range, dir: config.data_dir.join("ipam") };
        let begun = kubelet.stop.clone();
        tasks.spawn(async move {
            if begun.run_until_cancelled(book.open()).await.is_some() {
                pods.run().await;
            }
        });
        server::start(config.address, config.port, &config.credentials, host, config.pods, stop, tasks).await?;
        kubelet.spawn(async move { reporter.run(config.nodes).await });
        Ok(kubelet)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Tells whether somebody who connects there meets one of the node's pods at that moment.
    pub fn is_pod(&self) -> impl Fn(SocketAddr) -> bool + Send + Sync + use<> {
        let (addresses, on_host) = (self.addresses.clone(), self.on_host.clone());
        move |to| match to.ip() {
            IpAddr::V4(ip) if addresses.borrow().as_ref().is_some_and(|ipam| ipam.is_leased(ip)) => true,
            _ => on_host.listens_at(to),
        }
    }

    /// Ends the kubelet's tasks; pods keep running.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The addresses of the node's pods, once the node knows its range.
struct AddressBook {
    nodes: Nodes,
    range: watch::Sender<Option<Arc<Ipam>>>,
    dir: PathBuf,
}

impl AddressBook {
    /// Returns when the Node is known: with its range, or while a task waits for one.
    async fn open(self) {
        let mut own = self.nodes.own();
        let Ok(node) = own.wait_for(Option::is_some).await.map(|node| node.clone()) else { return };
        match node.as_deref().and_then(pod_range) {
            Some(cidr) => self.publish(cidr),
            None => drop(tokio::spawn(self.wait())),
        }
    }

    /// The control plane assigns ranges.
    async fn wait(self) {
        let mut own = self.nodes.own();
        let has_range = |node: &Option<Arc<Node>>| node.as_deref().and_then(pod_range).is_some();
        let given = tokio::select! {
            node = own.wait_for(has_range) => node.ok().and_then(|node| node.as_deref().and_then(pod_range)),
            () = self.range.closed() => None,
        };
        if let Some(cidr) = given {
            self.publish(cidr);
        }
    }

    fn publish(&self, cidr: Ipv4Net) {
        match Ipam::open(&self.dir, cidr) {
            Ok(ipam) => {
                tracing::info!(%cidr, "the node's pod range");
                self.range.send_replace(Some(Arc::new(ipam)));
            }
            Err(error) => tracing::error!(%error, "the addresses of pods could not be read"),
        }
    }
}
