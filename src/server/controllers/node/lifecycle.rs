//! The node lifecycle controller: a node that is silent for too long is unknown, its pods are not ready, and
//! taints tell scheduler and [`super::eviction`] about it.
//!
//! Silence is measured by this process's clock from the moment it saw the last sign of life (lease or status),
//! so that nodes' clocks need not agree. A timer is armed for the end of each node's term, nothing polls.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use parking_lot::Mutex;
use serde_json::json;

use super::metrics::Evictions;
use super::{PodsOn, health};
use crate::reconcile::clock::{time, until};
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};
use crate::server::controllers::pods;

const LEASES: &str = "kube-node-lease";

/// What a node last said, and when we saw it.
struct Sign {
    renewed: Option<MicroTime>,
    heartbeat: Option<Time>,
    seen: Timestamp,
}

pub struct NodeLifecycle {
    nodes: Informer<Node>,
    leases: Informer<Lease>,
    pods_on: PodsOn,
    signs: Mutex<HashMap<String, Sign>>,
    events: Recorder,
    evictions: Evictions,
}

impl NodeLifecycle {
    pub fn new(env: &Env, pods_on: PodsOn, evictions: Evictions) -> Self {
        let events = env.events.recorder("node-controller", None);
        let (nodes, leases) = (env.informers.get(), env.informers.get());
        Self { nodes, leases, pods_on, signs: Mutex::default(), events, evictions }
    }

    /// When the node was last heard of; now, where it says something new.
    fn heard(&self, node: &Node, name: &str, now: Timestamp) -> Timestamp {
        let lease = self.leases.get(LEASES, name);
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
        let heartbeat = ready.and_then(|ready| ready.last_heartbeat_time.clone());
        let mut signs = self.signs.lock();
        match signs.get(name) {
            Some(sign) if sign.renewed == renewed && sign.heartbeat == heartbeat => sign.seen,
            _ => {
                signs.insert(name.to_owned(), Sign { renewed, heartbeat, seen: now });
                now
            }
        }
    }

    /// Pods of a node that is not ready are not ready either.
    async fn mark_pods(&self, cx: &Context, node: &str) -> Result<(), Error> {
        let ready = self.pods_on.get(&node.to_owned()).into_iter().filter(|pod| pods::is_ready(pod));
        let ready: Vec<_> = ready.collect();
        let now = cx.env.clock.now();
        let marked = ready.iter().map(|pod| async move {
            let meta = &pod.metadata;
            let writer = cx.namespaced::<Pod>(meta.namespace.as_deref().unwrap_or_default());
            let patch = json!({"metadata": {"uid": meta.uid}, "status": {"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": time(now)},
            ]}});
            let outcome = writer.strategic_status(meta.name.as_deref().unwrap_or_default(), &patch).await;
            match outcome {
                Err(error) if error.reason() == "NotFound" => Ok(()),
                Err(error) => Err(error),
                Ok(_) => {
                    self.events.event(pod.as_ref(), EventType::Warning, "NodeNotReady", "Node is not ready");
                    Ok(())
                }
            }
        });
        Error::gather(join_all(marked).await.into_iter().filter_map(Result::err).collect())
    }
}

#[async_trait]
impl Controller for NodeLifecycle {
    type Key = Key;

    fn name(&self) -> &'static str {
        "node-lifecycle"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        let this = self.clone();
        watches.on(&self.nodes, move |change| {
            this.evictions.zone(change.object());
            let readiness = |node: &Option<Arc<Node>>| node.as_ref().map(|node| health::is_ready(node));
            if readiness(&change.old) == readiness(&change.new) {
                return vec![Key::of(change.object().as_ref())];
            }
            // Whether any node is ready decides about the taints of all.
            let mut keys: Vec<_> = this.nodes.store().state().iter().map(|node| Key::of(node.as_ref())).collect();
            keys.push(Key::of(change.object().as_ref()));
            keys
        });
        watches.on(&self.leases, |change| {
            let lease = change.new.as_ref()?;
            let of_node = lease.metadata.namespace.as_deref() == Some(LEASES);
            of_node.then(|| Key::new("", lease.metadata.name.clone().unwrap_or_default()))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(node) = self.nodes.get("", &key.name) else {
            self.signs.lock().remove(&key.name);
            return Ok(Action::done());
        };
        let now = cx.env.clock.now();
        let until_silent = self.heard(&node, &key.name, now).saturating_add(health::GRACE).unwrap_or(Timestamp::MAX);
        let silent = until_silent <= now;
        let mut node = (*node).clone();
        let writer = cx.cluster::<Node>();
        if silent && let Some(conditions) = health::silenced(&node, now) {
            let was_ready = health::is_ready(&node);
            node.status.get_or_insert_default().conditions = Some(conditions);
            node = writer.replace_status(&node).await?;
            if was_ready {
                let message = format!("Node {} status is now: NodeNotReady", key.name);
                self.events.event(&node, EventType::Normal, "NodeNotReady", message);
            }
        }
        let any_ready = health::is_ready(&node) || self.nodes.store().find(health::is_ready).is_some();
        if let Some(taints) = health::taints(&node, any_ready, now) {
            let was_left = health::evicts(&node);
            node.spec.get_or_insert_default().taints = Some(taints);
            node = writer.replace(&node).await?;
            if !was_left && health::evicts(&node) {
                self.evictions.inc(&node);
            }
        }
        if health::condition(&node, "Ready").is_some_and(|ready| ready != "True") {
            self.mark_pods(cx, &key.name).await?;
        }
        // A silent node is looked at again when it speaks.
        Ok(Action::maybe_after((!silent).then(|| until(now, until_silent))))
    }
}
