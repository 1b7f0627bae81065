//! The Node object of this machine: registered at start, its status kept true, its lease renewed. Knows nothing of
//! pods.

mod facts;
mod lease;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{Notify, watch};

pub use facts::{Machine, capacity};
use status::Inputs;
pub use status::allocatable_memory;

use super::host::Capacity;
use crate::agent::nodes::Nodes;
use crate::agent::runtime::Runtime;
use crate::net::node_address::NodeAddress;
use crate::reconcile::backoff::{Backoff, jittered};
use crate::reconcile::events::{EventType, Recorder, reference};

/// What the node calls itself.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    pub address: NodeAddress,
    pub labels: Vec<(String, String)>,
    pub taints: Vec<Taint>,
    pub kubelet_port: u16,
}

/// The node's reporter.
pub struct NodeReporter {
    pub client: Client,
    pub identity: Identity,
    pub machine: Machine,
    pub capacity: Capacity,
    /// On the file system that holds containers.
    pub data_dir: PathBuf,
    pub runtime: Arc<dyn Runtime>,
    pub recorder: Recorder,
    /// Rung when something in the status may have changed, such as the images.
    pub news: Arc<Notify>,
}

/// How often a status is written that did not change (upstream's nodeStatusReportFrequency).
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// Changes within this time go into one write.
const GATHER: Duration = Duration::from_secs(2);
/// Between attempts to write a status.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

impl NodeReporter {
    fn api(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    /// Registers the node and reports it from then on. Without a server it goes on trying.
    pub async fn run(&self, nodes: Nodes) {
        let node = self.register().await;
        tokio::join!(self.keep_lease(&node), self.keep_status(node.clone(), nodes.own()));
    }

    /// Creates the Node or takes over an existing one, and writes its first status. Retries until it succeeds: the
    /// API server may be starting at the same time, or be away for days.
    async fn register(&self) -> Node {
        let mut wait = Duration::from_millis(50);
        let mut told = false;
        loop {
            match self.try_register().await {
                Ok(node) => return node,
                Err(error) if told => tracing::debug!(node = self.identity.name, %error, "node not registered yet"),
                Err(error) => tracing::warn!(node = self.identity.name, %error, "node not registered yet; trying on"),
            }
            told = true;
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(7));
        }
    }

    async fn try_register(&self) -> Result<Node, kube::Error> {
        let wanted = self.new_node(self.inputs().await);
        match self.api().create(&PostParams::default(), &wanted).await {
            Ok(node) => {
                let node = self.ensure_status(node).await?;
                self.say(&node, "RegisteredNode", "Registered");
                Ok(node)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => self.take_over(&wanted).await,
            Err(error) => Err(error),
        }
    }

    /// A server may drop the status of a created object; then it is written separately.
    async fn ensure_status(&self, node: Node) -> Result<Node, kube::Error> {
        let has = node.status.as_ref().is_some_and(|status| status.conditions.is_some());
        if has { Ok(node) } else { self.write(&node, &self.inputs().await).await }
    }

    async fn take_over(&self, wanted: &Node) -> Result<Node, kube::Error> {
        let labels = json!({"metadata": {"labels": wanted.metadata.labels}});
        let node = self.api().patch(&self.identity.name, &PatchParams::default(), &Patch::Strategic(labels)).await?;
        self.write(&node, &self.inputs().await).await
    }

    fn say(&self, node: &Node, reason: &str, what: &str) {
        let message = format!("Node {} event: {what} Node {0} in Controller", self.identity.name);
        tracing::debug!(reason, message);
        self.recorder.event_at(reference(node), EventType::Normal, "Starting", "Starting kubelet.");
    }

    fn new_node(&self, inputs: Inputs) -> Node {
        let mut labels: std::collections::BTreeMap<_, _> = self.identity.labels.iter().cloned().collect();
        for (key, value) in [
            ("kubernetes.io/hostname", self.identity.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", self.machine.architecture.as_str()),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", self.machine.architecture.as_str()),
        ] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        Node {
            metadata: ObjectMeta { name: Some(self.identity.name.clone()), labels: Some(labels), ..Default::default() },
            spec: Some(NodeSpec {
                taints: Some(self.identity.taints.clone()).filter(|taints| !taints.is_empty()),
                ..NodeSpec::default()
            }),
            status: Some(status::generate(&inputs, None, Timestamp::now())),
        }
    }

    async fn inputs(&self) -> Inputs {
        let version = self.runtime.version().await;
        let pressure = facts::pressure(&self.data_dir);
        Inputs {
            identity: self.identity.clone(),
            machine: self.machine.clone(),
            capacity: self.capacity,
            runtime: version.map(|version| format!("{}://{}", version.name, version.version)).map_err(|e| e.rpc()),
            images: self.runtime.images().await.unwrap_or_default(),
            pressure,
        }
    }

    async fn write(&self, node: &Node, inputs: &Inputs) -> Result<Node, kube::Error> {
        let new = status::generate(inputs, node.status.as_ref(), Timestamp::now());
        let mut patch = json!({ "status": new });
        // Addresses are merged by type, images not at all; a gone address must not stay.
        if let Some(addresses) = patch["status"]["addresses"].as_array_mut() {
            addresses.insert(0, json!({"$patch": "replace"}));
        }
        self.api().patch_status(&self.identity.name, &PatchParams::default(), &Patch::Strategic(patch)).await
    }

    /// Keeps the status true: writes when it changed, when the API has another one, and every five minutes.
    async fn keep_status(&self, mut node: Node, mut own: watch::Receiver<Option<Arc<Node>>>) {
        let mut address = self.identity.address.clone();
        loop {
            tokio::select! {
                () = self.news.notified() => tokio::time::sleep(GATHER).await,
                () = address.changed() => {}
                () = contradicted(&mut own, &node) => {}
                () = tokio::time::sleep(REPORT_EVERY) => {}
            }
            node = self.report(node).await;
        }
    }

    /// Writes the status as it is, and tries until that succeeds: it may have been on its way when the way broke.
    async fn report(&self, node: Node) -> Node {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut told = false;
        loop {
            match self.write(&node, &self.inputs().await).await {
                Ok(newer) => return newer,
                Err(kube::Error::Api(status)) if status.code == 404 => return self.register().await,
                Err(error) if told => tracing::debug!(%error, "node status not written"),
                Err(error) => tracing::warn!(%error, "node status not written; trying until it is"),
            }
            told = true;
            tokio::time::sleep(jittered(backoff.failed(()))).await;
        }
    }

    /// Renews the lease until dropped. The same heartbeat looks whether something is running short.
    async fn keep_lease(&self, node: &Node) {
        let known = parking_lot::Mutex::new(facts::pressure(&self.data_dir));
        let beat = || {
            let now = facts::pressure(&self.data_dir);
            if std::mem::replace(&mut *known.lock(), now) != now {
                self.news.notify_one();
            }
        };
        lease::keep(&self.client, &self.identity.name, node, beat).await;
    }
}

/// Returns when the API has another opinion of the node's conditions than `written`, the node's own last report: a server
/// that did not hear from a node for a while calls it unknown.
async fn contradicted(own: &mut watch::Receiver<Option<Arc<Node>>>, written: &Node) {
    let news = |own: &Option<Arc<Node>>| own.as_deref().is_some_and(|own| contradicts(own, written));
    if own.wait_for(news).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn contradicts(own: &Node, written: &Node) -> bool {
    let revision = |node: &Node| node.metadata.resource_version.as_ref().and_then(|it| it.parse::<u64>().ok());
    if revision(own) <= revision(written) {
        return false;
    }
    let conditions =
        |node: &Node| node.status.iter().flat_map(|it| &it.conditions).flatten().cloned().collect::<Vec<_>>();
    let theirs = conditions(own);
    conditions(written).iter().any(|ours| {
        let same = |it: &NodeCondition| it.type_ == ours.type_ && it.status == ours.status;
        !theirs.iter().any(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(revision: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "resourceVersion": revision},
            "status": {"conditions": [{"type": "Ready", "status": ready}, {"type": "Theirs", "status": revision}]},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_newer_and_other_opinion_is_answered() {
        let mut written = node("5", "True");
        written.status.as_mut().unwrap().conditions.as_mut().unwrap().pop();
        for (own, expected) in [
            (node("6", "Unknown"), true),
            (node("6", "True"), false),
            (node("4", "Unknown"), false),
            (node("", "Unknown"), false),
        ] {
            assert_eq!(contradicts(&own, &written), expected, "{own:?}");
        }
    }
}
