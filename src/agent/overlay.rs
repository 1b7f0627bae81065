//! The node's part in the overlay: tells the others in flannel's annotations how it is reached, follows the
//! Nodes, and keeps the kernel's way to each of their pod ranges. Repairs what changes under it when the kernel says so,
//! never by looking around. Leaves everything in place when it stops: pods go on talking without it.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::kubelet::pod_range;
use crate::lifecycle::{Component, StartError};
use crate::net::overlay::events::Changes;
use crate::net::overlay::kernel::{Device, Kernel};
use crate::net::overlay::{Backend, Mac, Paths, Peer, VNI, diff};

const TYPE: &str = "flannel.alpha.coreos.com/backend-type";
const DATA: &str = "flannel.alpha.coreos.com/backend-data";
const PUBLIC_IP: &str = "flannel.alpha.coreos.com/public-ip";
const MANAGER: &str = "flannel.alpha.coreos.com/kube-subnet-manager";

/// After a failure that no event of the kernel's need end.
const AGAIN: Duration = Duration::from_secs(5);

/// What the component is told.
#[derive(Clone)]
pub struct OverlayConfig {
    pub client: Client,
    pub node_name: String,
    pub node_ip: Ipv4Addr,
    pub backend: Backend,
    /// The link is called `<prefix>.<VNI>`.
    pub link_prefix: String,
}

/// The component.
pub struct Overlay {
    config: OverlayConfig,
    task: Option<JoinHandle<()>>,
}

impl Overlay {
    pub fn new(config: OverlayConfig) -> Self {
        Self { config, task: None }
    }
}

#[async_trait]
impl Component for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let failed = |error: std::io::Error| StartError::new("overlay", error);
        let worker = Worker {
            kernel: Kernel::open().map_err(failed)?,
            changes: Changes::listen().map_err(failed)?,
            nodes: HashMap::new(),
            listed: false,
            config: self.config.clone(),
        };
        let nodes = watcher(Api::<Node>::all(self.config.client.clone()), watcher::Config::default());
        self.task = Some(tokio::spawn(worker.follow(nodes.default_backoff().boxed())));
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // Aborting is what we asked for.
            let _ = task.await;
        }
    }
}

/// What a Node says of its place in the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    range: Option<Ipv4Net>,
    /// How it is reached, where it says so in the way of our backend.
    peer: Option<Peer>,
    /// The annotations as they are.
    annotations: BTreeMap<&'static str, String>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no link holds the node's address {0}; the overlay waits until one does")]
    NoWire(Ipv4Addr),
    #[error("{0}")]
    Kernel(#[from] std::io::Error),
    #[error("the Node cannot be annotated: {0}")]
    Api(#[from] Box<kube::Error>),
}

struct Worker {
    config: OverlayConfig,
    kernel: Kernel,
    changes: Changes,
    nodes: HashMap<String, Place>,
    /// All Nodes were seen once; before that nothing is taken away.
    listed: bool,
}

impl Worker {
    async fn follow(mut self, mut nodes: BoxStream<'static, watcher::Result<watcher::Event<Node>>>) {
        let mut failed = false;
        let mut fresh = HashMap::new();
        loop {
            let look = tokio::select! {
                event = nodes.next() => match event {
                    Some(Ok(event)) => self.take(event, &mut fresh),
                    Some(Err(error)) => {
                        tracing::debug!(%error, "watching nodes");
                        false
                    }
                    None => return,
                },
                () = self.changes.next() => self.listed,
                () = tokio::time::sleep(AGAIN), if failed => true,
            };
            if !look {
                continue;
            }
            let outcome = self.reconcile().await;
            if let Err(error) = &outcome
                && !failed
            {
                tracing::warn!(%error, "overlay");
            }
            failed = outcome.is_err();
        }
    }

    /// Takes an event and says whether it is news.
    fn take(&mut self, event: watcher::Event<Node>, fresh: &mut HashMap<String, Place>) -> bool {
        let backend = self.config.backend;
        match event {
            watcher::Event::Init => fresh.clear(),
            watcher::Event::InitApply(node) => drop(fresh.insert(node.name_any(), place(&node, backend))),
            watcher::Event::InitDone => {
                self.nodes = std::mem::take(fresh);
                self.listed = true;
                return true;
            }
            watcher::Event::Apply(node) => {
                let place = place(&node, backend);
                return self.nodes.insert(node.name_any(), place.clone()).as_ref() != Some(&place);
            }
            watcher::Event::Delete(node) => return self.nodes.remove(&node.name_any()).is_some(),
        }
        false
    }

    async fn reconcile(&mut self) -> Result<(), Error> {
        let Some(own) = self.nodes.get(&self.config.node_name).cloned() else { return Ok(()) };
        self.announce(&own).await?;
        let peers = self.peers();
        // Before the wire is known any link may become it.
        self.changes.about(Vec::new());
        let node_ip = self.config.node_ip;
        let wire = self.kernel.wire(node_ip)?.ok_or(Error::NoWire(node_ip))?;
        let name = format!("{}.{VNI}", self.config.link_prefix);
        let link = match (self.config.backend, own.range) {
            (Backend::HostGateway, _) => wire.index,
            // A lone node needs no link to others, and a kernel without VXLAN may run one.
            (Backend::Vxlan, Some(range)) if !peers.is_empty() => {
                let mac = Mac::of_node(&self.config.node_name);
                self.kernel.ensure(&Device { name, mac, node_ip, address: range.network() }, wire)?
            }
            (Backend::Vxlan, _) => match self.kernel.index(&name)? {
                Some(index) => index,
                None => {
                    self.changes.about(vec![wire.index]);
                    return Ok(());
                }
            },
        };
        self.changes.about(vec![wire.index, link]);
        let vxlan = (self.config.backend == Backend::Vxlan).then_some(link);
        let desired = Paths::of(self.config.backend, &peers, link);
        let observed = self.kernel.observe(vxlan)?;
        for step in diff(&desired, &observed) {
            tracing::debug!(?step, "overlay");
            self.kernel.apply(&step, link)?;
        }
        Ok(())
    }

    /// The other nodes by their pod ranges. Of two that claim one range the first by name has it.
    fn peers(&self) -> BTreeMap<Ipv4Net, Peer> {
        let mut others: Vec<_> = self.nodes.iter().filter(|(name, _)| **name != self.config.node_name).collect();
        others.sort_by_key(|(name, _)| name.as_str());
        let mut peers = BTreeMap::new();
        for (name, place) in others {
            let (Some(range), Some(peer)) = (place.range, place.peer) else { continue };
            if peers.contains_key(&range) {
                tracing::warn!(node = name.as_str(), %range, "another node has this pod range too; delete one of them");
                continue;
            }
            peers.insert(range, peer);
        }
        peers
    }

    /// Writes how this node is reached, where its Node does not say so.
    async fn announce(&self, own: &Place) -> Result<(), Error> {
        let wanted = announcement(self.config.backend, &self.config.node_name, self.config.node_ip);
        if wanted == own.annotations {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": wanted}}));
        let nodes = Api::<Node>::all(self.config.client.clone());
        let done = nodes.patch_metadata(&self.config.node_name, &PatchParams::default(), &patch).await;
        done.map(drop).map_err(|error| Error::Api(Box::new(error)))
    }
}

/// What flannel writes of a node.
fn announcement(backend: Backend, name: &str, ip: Ipv4Addr) -> BTreeMap<&'static str, String> {
    let data = match backend {
        Backend::Vxlan => json!({"VNI": VNI, "VtepMAC": Mac::of_node(name).to_string()}),
        Backend::HostGateway => Value::Null,
    };
    BTreeMap::from([
        (TYPE, backend.name().to_owned()),
        (DATA, data.to_string()),
        (PUBLIC_IP, ip.to_string()),
        (MANAGER, "true".to_owned()),
    ])
}

fn place(node: &Node, backend: Backend) -> Place {
    let all = node.annotations();
    let annotations: BTreeMap<_, _> =
        [TYPE, DATA, PUBLIC_IP, MANAGER].into_iter().filter_map(|key| Some((key, all.get(key)?.clone()))).collect();
    let peer = || {
        let text = |key| annotations.get(key).map(String::as_str).unwrap_or_default();
        if text(TYPE) != backend.name() {
            return None;
        }
        let data: Value = serde_json::from_str(text(DATA)).ok()?;
        let mac = match backend {
            Backend::Vxlan if data["VNI"] == json!(VNI) => data["VtepMAC"].as_str()?.parse().ok()?,
            Backend::Vxlan => return None,
            Backend::HostGateway => Mac([0; 6]),
        };
        Some(Peer { node_ip: text(PUBLIC_IP).parse().ok()?, mac })
    };
    let peer = peer();
    Place { range: pod_range(node), peer, annotations }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(annotations: &BTreeMap<&str, String>) -> Node {
        let meta = json!({"name": "a", "annotations": annotations});
        serde_json::from_value(json!({"metadata": meta, "spec": {"podCIDRs": ["10.42.3.0/24"]}})).unwrap()
    }

    #[test]
    fn what_a_node_announces_is_what_others_read() {
        for backend in [Backend::Vxlan, Backend::HostGateway] {
            let wanted = announcement(backend, "a", [192, 0, 2, 1].into());
            let found = place(&node(&wanted), backend);
            assert_eq!(found.annotations, wanted);
            assert_eq!(found.range, Some("10.42.3.0/24".parse().unwrap()));
            let peer = found.peer.unwrap();
            assert_eq!(peer.node_ip, Ipv4Addr::from([192, 0, 2, 1]));
            assert_eq!(peer.mac == Mac::of_node("a"), backend == Backend::Vxlan);
        }
    }

    #[test]
    fn a_node_that_is_not_of_this_overlay_is_no_peer() {
        let good = announcement(Backend::Vxlan, "a", [192, 0, 2, 1].into());
        for (key, value) in [
            (TYPE, "host-gw"),
            (DATA, "{\"VNI\":2,\"VtepMAC\":\"02:00:00:00:00:01\"}"),
            (DATA, "{\"VNI\":1,\"VtepMAC\":\"nonsense\"}"),
            (DATA, "null"),
            (DATA, ""),
            (PUBLIC_IP, "::1"),
        ] {
            let mut bad = good.clone();
            bad.insert(key, value.to_owned());
            assert_eq!(place(&node(&bad), Backend::Vxlan).peer, None, "{key}={value}");
        }
    }
}
