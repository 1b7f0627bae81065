//! The node agent: the kubelet and what it stands on. Speaks only the API; never the store or the server.

pub mod dns;
mod file_watch;
pub mod images;
pub mod join;
pub mod kubelet;
pub mod nodes;
pub mod overlay;
pub mod pod_network;
pub mod proxy;
pub mod runtime;
pub mod services;
pub mod tunnel;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Pod, Taint};
use kube::Client;
use rustls::server::ResolvesServerCert;

use crate::api::requests::IN_PROCESS;
use crate::client;
use crate::lifecycle::{Component, Lifecycle, StartError};
use crate::net::links;
use crate::net::node_address::NodeAddress;
use crate::net::overlay::Backend;
use crate::reconcile::{Informer, Informers};
use dns::{Dns, DnsConfig};
use kubelet::{Certificates, Credentials, Kubelet};
use nodes::{Nodes, NodesConfig};
use overlay::{Overlay, OverlayConfig};
use pod_network::{PodNetwork, PodNetworkConfig};
use proxy::{NodePortAddresses, ProxyConfig, ServiceProxy};
use runtime::containerd::{Containerd, ContainerdConfig, LogLimits};
use services::Services;
use tunnel::{Tunnel, TunnelConfig};

/// containerd's namespace that Kubernetes' tools look into.
pub const NAMESPACE: &str = "k8s.io";

/// Of pods' links on a node whose own link does not tell: Ethernet's.
const MTU: u32 = 1500;

/// Everything an agent is told.
pub struct AgentConfig {
    pub node_name: String,
    /// Where others reach this node; it may change.
    pub node_address: NodeAddress,
    pub node_labels: Vec<(String, String)>,
    pub node_taints: Vec<Taint>,
    /// `<data-dir>/agent`
    pub data_dir: PathBuf,
    /// Sockets and pinned namespaces; gone after a reboot.
    pub run_dir: PathBuf,
    pub log_dir: PathBuf,
    pub cgroup_root: String,
    pub kubelet_port: u16,
    /// Links and packet tables begin with it.
    pub prefix: String,
    pub client: Client,
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    pub cluster_dns: Ipv4Addr,
    pub cluster_domain: String,
    /// The socket of a containerd that somebody else runs.
    pub containerd_address: Option<PathBuf>,
    pub insecure_registries: Vec<String>,
    /// What the kubelet's port shows, whatever it is by then.
    pub serving: Arc<dyn ResolvesServerCert>,
    /// What is told of the node's certificates.
    pub certificates: Certificates,
    /// Who may speak to the kubelet's port: holders of certificates of this CA.
    pub client_ca_pem: String,
    /// How pods reach those of other nodes.
    pub backend: Backend,
    /// The API server on another machine, to which a tunnel is kept open.
    pub server: Option<tunnel::Server>,
    /// On which addresses the node ports of Services are.
    pub node_ports: NodePortAddresses,
    /// Where the service proxy tells how it is.
    pub proxy_healthz: SocketAddr,
    /// `proxy`, `dns`, `overlay`.
    pub disable: HashSet<String>,
    /// The folder in which the API's objects are remembered for times without a server. One in the same process needs none.
    pub memory: Option<PathBuf>,
}

/// The agent as one part of the process.
pub struct Agent {
    config: AgentConfig,
    informers: Informers,
    parts: Lifecycle,
    services: Option<Services>,
    runtime: Option<Arc<Containerd>>,
    kubelet: Option<Kubelet>,
    dns_metrics: Arc<dns::Metrics>,
    requests: Arc<client::Counts>,
}

impl Agent {
    pub fn new(mut config: AgentConfig) -> Self {
        let host = config.server.as_ref().map(|server| format!("{}:{}", server.host, server.port));
        let requests = Arc::new(client::Counts::new(host.as_deref().unwrap_or(IN_PROCESS)));
        config.client = client::counted(config.client, &requests);
        let informers = Informers::remembering(config.client.clone(), config.memory.clone());
        Self {
            config,
            informers,
            parts: Lifecycle::default(),
            services: None,
            runtime: None,
            kubelet: None,
            dns_metrics: Arc::default(),
            requests,
        }
    }

    /// The pods that are bound to this node: one watch for all who ask.
    fn bound(&self) -> Informer<Pod> {
        self.informers.selected(&format!("spec.nodeName={}", self.config.node_name))
    }

    fn watch_nodes(config: &AgentConfig) -> Nodes {
        Nodes::watch(NodesConfig {
            client: config.client.clone(),
            node_name: config.node_name.clone(),
            backend: config.backend,
            all: !config.disable.contains("overlay"),
            memory: config.memory.clone(),
        })
    }

    /// The network's parts: they stand before the first pod does.
    async fn start_network(&mut self, services: &Services, nodes: &Nodes) -> Result<(), StartError> {
        let config = &self.config;
        if config.node_address.v4().is_none() {
            return Err(StartError::new("agent", "the node needs an IPv4 address; pass one with --node-ip"));
        }
        let pods = PodNetworkConfig {
            pods: self.bound(),
            cluster_cidr: config.cluster_cidr,
            table_prefix: config.prefix.clone(),
        };
        self.parts.start(Box::new(PodNetwork::new(pods))).await?;
        if !config.disable.contains("overlay") {
            let overlay = OverlayConfig {
                client: config.client.clone(),
                nodes: nodes.clone(),
                node_name: config.node_name.clone(),
                node_address: config.node_address.clone(),
                backend: config.backend,
                link_prefix: config.prefix.clone(),
            };
            self.parts.start(Box::new(Overlay::new(overlay))).await?;
        }
        let dns = (!config.disable.contains("dns")).then_some(config.cluster_dns);
        if !config.disable.contains("proxy") {
            let proxy = ProxyConfig {
                client: config.client.clone(),
                nodes: nodes.clone(),
                services: services.clone(),
                node_name: config.node_name.clone(),
                node_address: config.node_address.clone(),
                cluster_cidr: config.cluster_cidr,
                service_cidr: config.service_cidr,
                cluster_dns: dns,
                node_ports: config.node_ports.clone(),
                healthz: config.proxy_healthz,
                table_prefix: config.prefix.clone(),
            };
            self.parts.start(Box::new(ServiceProxy::new(proxy))).await?;
        }
        if let Some(cluster_dns) = dns {
            let dns = DnsConfig {
                client: config.client.clone(),
                node_name: config.node_name.clone(),
                services: services.clone(),
                cluster_dns,
                cluster_domain: config.cluster_domain.clone(),
                cluster_ranges: vec![config.cluster_cidr, config.service_cidr],
                resolv_conf: "/etc/resolv.conf".into(),
                link_prefix: config.prefix.clone(),
                metrics: self.dns_metrics.clone(),
                memory: config.memory.clone(),
            };
            self.parts.start(Box::new(Dns::new(dns))).await?;
        }
        Ok(())
    }

    async fn start_runtime(config: &AgentConfig) -> Result<Arc<Containerd>, StartError> {
        let containerd = ContainerdConfig {
            address: config.containerd_address.clone(),
            root: config.data_dir.join("containerd"),
            run: config.run_dir.join("containerd"),
            namespace: NAMESPACE.to_owned(),
            cgroup_root: config.cgroup_root.clone(),
            insecure_registries: config.insecure_registries.clone(),
            log_limits: LogLimits::default(),
            builtin: Some("/proc/self/exe".into()),
            preload: Some(config.data_dir.join("images")),
        };
        Containerd::start(containerd).await.map_err(|error| StartError::new("containerd", error))
    }

    fn kubelet_config(&self, services: Services, nodes: &Nodes, mtu: u32) -> kubelet::Config {
        let config = &self.config;
        kubelet::Config {
            node_name: config.node_name.clone(),
            node_address: config.node_address.clone(),
            nodes: nodes.clone(),
            pods: self.bound(),
            node_labels: config.node_labels.clone(),
            node_taints: config.node_taints.clone(),
            data_dir: config.data_dir.clone(),
            run_dir: config.run_dir.clone(),
            log_dir: config.log_dir.clone(),
            cgroup_root: config.cgroup_root.clone(),
            port: config.kubelet_port,
            cluster_dns: (!config.disable.contains("dns")).then_some(config.cluster_dns),
            cluster_domain: config.cluster_domain.clone(),
            mtu,
            address: Ipv4Addr::UNSPECIFIED.into(),
            credentials: Credentials { serving: config.serving.clone(), client_ca: config.client_ca_pem.clone() },
            services,
            dns_metrics: self.dns_metrics.clone(),
            requests: self.requests.clone(),
            certificates: config.certificates.clone(),
        }
    }
}

#[async_trait]
impl Component for Agent {
    fn name(&self) -> &'static str {
        "agent"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let services = Services::watch(self.config.client.clone(), self.config.memory.as_deref());
        self.services = Some(services.clone());
        let nodes = Self::watch_nodes(&self.config);
        let runtime = Self::start_runtime(&self.config).await?;
        self.runtime = Some(runtime.clone());
        self.start_network(&services, &nodes).await?;
        // Pods carry no more than the way to their neighbours on other nodes does.
        let wire = links::mtu(self.config.node_address.get()).ok().flatten().unwrap_or(MTU);
        let mtu = self.config.backend.pod_mtu(wire);
        let own_node = nodes.own();
        let kubelet = self.kubelet_config(services, &nodes, mtu);
        let kubelet = Kubelet::start(kubelet, self.config.client.clone(), runtime).await;
        let kubelet = kubelet.map_err(|error| StartError::new("kubelet", error))?;
        let is_pod = Arc::new(kubelet.is_pod());
        self.kubelet = Some(kubelet);
        if let Some(server) = self.config.server.clone() {
            let kubelet_port = self.config.kubelet_port;
            let tunnel = TunnelConfig { server, kubelet_port, is_pod, node: own_node };
            self.parts.start(Box::new(Tunnel::new(tunnel))).await?;
        }
        Ok(())
    }

    /// Pods go on running; the next start adopts them.
    async fn stop(&mut self) {
        if let Some(kubelet) = self.kubelet.take() {
            kubelet.stop().await;
        }
        self.parts.stop().await;
        if let Some(services) = self.services.take() {
            services.stop().await;
        }
        self.informers.stop().await;
        if let Some(runtime) = self.runtime.take() {
            runtime.stop().await;
        }
    }
}
