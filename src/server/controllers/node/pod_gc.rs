//! Collects pods that no kubelet will ever finish: bound to a node that is gone, or deleted before they got one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use parking_lot::Mutex;
use serde_json::json;

use super::PodsOn;
use crate::reconcile::clock::{time, until};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};
use crate::server::controllers::pods;

/// How long a node must be gone before its pods are given up: it may be registering anew.
const QUARANTINE: Duration = Duration::from_secs(40);

pub struct PodGc {
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    pods_on: PodsOn,
    /// Since when a node that pods are bound to is missing.
    missing: Mutex<HashMap<String, Timestamp>>,
}

impl PodGc {
    pub fn new(env: &Env, pods_on: PodsOn) -> Self {
        Self { nodes: env.informers.get(), pods: env.informers.get(), pods_on, missing: Mutex::default() }
    }

    async fn collect(&self, cx: &Context, pod: &Pod) -> Result<(), Error> {
        let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
        let params = DeleteParams { preconditions, grace_period_seconds: Some(0), ..DeleteParams::default() };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        cx.namespaced::<Pod>(namespace).delete(pod, &params).await
    }

    /// Says why a pod failed before it is deleted, for those who count failures.
    async fn mark(&self, cx: &Context, pod: &Pod) -> Result<(), Error> {
        if pods::is_terminal(pod) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed", "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists", "lastTransitionTime": time(cx.env.clock.now()),
        }]}});
        let writer = cx.namespaced::<Pod>(pod.metadata.namespace.as_deref().unwrap_or_default());
        match writer.strategic_status(pod.metadata.name.as_deref().unwrap_or_default(), &patch).await {
            Err(error) if error.reason() == "NotFound" => Ok(()),
            other => other.map(drop),
        }
    }
}

#[async_trait]
impl Controller for PodGc {
    type Key = Key;

    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        let this = self.clone();
        watches.on(&self.nodes, move |change| {
            let name = change.object().metadata.name.clone().unwrap_or_default();
            match &change.new {
                Some(_) => {
                    this.missing.lock().remove(&name);
                    Vec::new()
                }
                None => this.pods_on.get(&name).iter().map(|pod| Key::of(pod.as_ref())).collect(),
            }
        });
        let this = self.clone();
        watches.on(&self.pods, move |change| {
            let pod = change.new.as_ref()?;
            let homeless = super::node_of(pod).is_none_or(|name| this.nodes.get("", name).is_none());
            homeless.then(|| Key::of(pod.as_ref()))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(Action::done()) };
        let Some(node) = super::node_of(&pod) else {
            if pods::is_deleting(&pod) {
                self.collect(cx, &pod).await?;
            }
            return Ok(Action::done());
        };
        if self.nodes.get("", node).is_some() {
            return Ok(Action::done());
        }
        let now = cx.env.clock.now();
        let since = *self.missing.lock().entry(node.to_owned()).or_insert(now);
        let waited = until(since, now);
        if waited < QUARANTINE {
            return Ok(Action::after(QUARANTINE.saturating_sub(waited)));
        }
        // The cache may be behind; a pod deleted by mistake does not come back.
        if Api::<Node>::all(cx.env.client.clone()).get_opt(node).await?.is_some() {
            return Ok(Action::done());
        }
        self.mark(cx, &pod).await?;
        self.collect(cx, &pod).await?;
        let mut left = self.pods_on.get(&node.to_owned());
        left.retain(|other| other.metadata.uid != pod.metadata.uid);
        if left.is_empty() {
            self.missing.lock().remove(node);
        }
        Ok(Action::done())
    }
}
