//! The node's part in the overlay: tells the others in flannel's annotations how it is reached, follows the
//! Nodes, and keeps the kernel's way to each of their pod ranges. Repairs what changes under it when the kernel says so,
//! never by looking around. Leaves everything in place when it stops: pods go on talking without it.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::nodes::{Nodes, Place, Places, announcement};
use crate::lifecycle::{Component, StartError};
use crate::net::node_address::NodeAddress;
use crate::net::overlay::events::Changes;
use crate::net::overlay::kernel::{Device, Kernel};
use crate::net::overlay::{Backend, Mac, Paths, Peer, VNI, diff};

/// After a failure that no event of the kernel's need end.
const AGAIN: Duration = Duration::from_secs(5);

/// What the component is told.
#[derive(Clone)]
pub struct OverlayConfig {
    pub client: Client,
    pub nodes: Nodes,
    pub node_name: String,
    pub node_address: NodeAddress,
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
            places: self.config.nodes.places(),
            config: self.config.clone(),
            announced: true,
        };
        self.task = Some(tokio::spawn(worker.follow()));
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

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no link holds the node's address {0}; the overlay waits until one does")]
    NoWire(Ipv4Addr),
    #[error("the overlay needs an IPv4 address of the node, and it has none")]
    NoAddress,
    #[error("{0}")]
    Kernel(#[from] std::io::Error),
}

struct Worker {
    config: OverlayConfig,
    kernel: Kernel,
    changes: Changes,
    /// Before they are known nothing is taken away.
    places: watch::Receiver<Places>,
    /// The Node says how this node is reached.
    announced: bool,
}

impl Worker {
    async fn follow(mut self) {
        let mut failed = false;
        loop {
            let outcome = self.reconcile().await;
            if let Err(error) = &outcome
                && !failed
            {
                tracing::warn!(%error, "overlay");
            }
            failed = outcome.is_err();
            tokio::select! {
                news = self.places.changed() => if news.is_err() { return },
                () = self.config.node_address.changed() => {}
                () = self.changes.next() => {}
                () = tokio::time::sleep(AGAIN), if failed || !self.announced => {}
            }
        }
    }

    async fn reconcile(&mut self) -> Result<(), Error> {
        let Some(places) = self.places.borrow_and_update().clone() else { return Ok(()) };
        let Some(own) = places.get(&self.config.node_name) else { return Ok(()) };
        let node_ip = self.config.node_address.v4().ok_or(Error::NoAddress)?;
        let laid = self.lay(own.range, &peers(&places, &self.config.node_name), node_ip);
        // Without a server the ways are kept all the same.
        self.announced = self.announce(own, node_ip).await;
        laid
    }

    /// Brings the kernel's ways in step.
    fn lay(&mut self, range: Option<Ipv4Net>, peers: &BTreeMap<Ipv4Net, Peer>, node_ip: Ipv4Addr) -> Result<(), Error> {
        // Before the wire is known any link may become it.
        self.changes.about(Vec::new());
        let wire = self.kernel.wire(node_ip)?.ok_or(Error::NoWire(node_ip))?;
        let name = format!("{}.{VNI}", self.config.link_prefix);
        let link = match (self.config.backend, range) {
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
        let desired = Paths::of(self.config.backend, peers, link);
        let observed = self.kernel.observe(vxlan)?;
        for step in diff(&desired, &observed) {
            tracing::debug!(?step, "overlay");
            self.kernel.apply(&step, link)?;
        }
        Ok(())
    }

    /// Writes how this node is reached, where its Node does not say so; false where that must be tried again.
    async fn announce(&self, own: &Place, node_ip: Ipv4Addr) -> bool {
        let wanted = announcement(self.config.backend, &self.config.node_name, node_ip);
        if wanted == own.annotations {
            return true;
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": wanted}}));
        let nodes = Api::<Node>::all(self.config.client.clone());
        let params = PatchParams::default();
        let patched = nodes.patch_metadata(&self.config.node_name, &params, &patch);
        let done = match tokio::time::timeout(AGAIN, patched).await {
            Ok(done) => done.map_err(|error| error.to_string()),
            Err(elapsed) => Err(elapsed.to_string()),
        };
        if let Err(error) = &done
            && self.announced
        {
            tracing::warn!(error, "the Node cannot be annotated with how it is reached; trying until it can");
        }
        done.is_ok()
    }
}

/// The other nodes by their pod ranges. Of two that claim one range the first by name has it.
fn peers(places: &HashMap<String, Place>, own: &str) -> BTreeMap<Ipv4Net, Peer> {
    let mut others: Vec<_> = places.iter().filter(|(name, _)| *name != own).collect();
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
