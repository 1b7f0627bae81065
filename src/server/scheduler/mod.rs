//! Gives every pod a node.
//!
//! *Flow.* Pods and nodes come from the shared caches into a [`snapshot::Snapshot`] and a
//! [`queue::Queue`]; one loop takes the most important waiting pod, decides purely (`framework`), counts
//! the pod on its node at once and binds it in the background. An unschedulable pod waits, with a condition
//! and an event that say why, until the cluster changes in a way that one of its rejecting filters cares about.
//!
//! It speaks only through the API's client and never asks twice for what the caches know.

mod framework;
mod metrics;
mod plugins;
mod queue;
mod resources;
mod snapshot;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod, PodCondition, PodSpec};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::api::pod as pods;
use crate::lifecycle::{Component, StartError};
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Change, Env};
use framework::{Decision, Profile, Wake, decide};
use metrics::{Metrics, Outcome};
use queue::{Queue, Taken};
use snapshot::{Claim, PodInfo, Snapshot};

/// The `spec.schedulerName` of pods that are ours.
const NAME: &str = "default-scheduler";

/// Bindings under way at once.
const BINDINGS: usize = 64;

/// The scheduler as a part of the process.
pub struct Scheduler {
    env: Env,
    tasks: TaskTracker,
    state: Arc<Mutex<State>>,
    metrics: Metrics,
}

impl Scheduler {
    pub fn new(env: Env) -> Self {
        Self { env, tasks: TaskTracker::new(), state: Arc::default(), metrics: Metrics::default() }
    }

    /// Shows what it counts.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry, &self.state);
    }

    /// Shows what pods ask for.
    pub fn register_resources(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(resources::PodResources(self.env.informers.get())));
    }
}

#[async_trait]
impl Component for Scheduler {
    fn name(&self) -> &'static str {
        "scheduler"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let shared = Arc::new(Shared {
            recorder: self.env.events.recorder(NAME, None),
            env: self.env.clone(),
            profile: plugins::default_profile(),
            state: self.state.clone(),
            metrics: self.metrics.clone(),
            changed: Notify::new(),
            binding: Arc::new(Semaphore::new(BINDINGS)),
            tasks: self.tasks.clone(),
        });
        self.tasks.spawn(run(shared));
        Ok(())
    }

    async fn stop(&mut self) {
        self.env.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[derive(Default)]
struct State {
    snapshot: Snapshot,
    queue: Queue,
}

struct Shared {
    env: Env,
    profile: Profile,
    recorder: Recorder,
    state: Arc<Mutex<State>>,
    metrics: Metrics,
    /// There may be a pod to take.
    changed: Notify,
    binding: Arc<Semaphore>,
    tasks: TaskTracker,
}

async fn run(shared: Arc<Shared>) {
    let (nodes, all_pods) = (shared.env.informers.get::<Node>(), shared.env.informers.get::<Pod>());
    let (for_nodes, for_pods) = (Arc::downgrade(&shared), Arc::downgrade(&shared));
    nodes.on_change(move |change| {
        for_nodes.upgrade().into_iter().for_each(|shared| shared.node_changed(change));
    });
    all_pods.on_change(move |change| {
        for_pods.upgrade().into_iter().for_each(|shared| shared.pod_changed(change));
    });
    let stop = shared.env.stop.clone();
    let caches = async { tokio::join!(nodes.wait_ready(), all_pods.wait_ready()) };
    if stop.run_until_cancelled(caches).await.is_some() {
        stop.run_until_cancelled(schedule_all(&shared)).await;
    }
}

async fn schedule_all(shared: &Arc<Shared>) {
    let mut start = 0;
    loop {
        let (taken, due) = {
            let mut state = shared.state.lock();
            let taken = state.queue.take(Instant::now());
            (taken, state.queue.next_due())
        };
        match (taken, due) {
            (Some(taken), _) => {
                shared.schedule(&taken, &mut start);
                // One pod is microseconds of work; others on this thread want their turn too.
                tokio::task::consume_budget().await;
            }
            (None, Some(due)) => {
                let _ = tokio::time::timeout_at(due, shared.changed.notified()).await;
            }
            (None, None) => shared.changed.notified().await,
        }
    }
}

impl Shared {
    fn node_changed(&self, change: &Change<Node>) {
        let mut state = self.state.lock();
        let name = change.object().metadata.name.clone().unwrap_or_default();
        let Some(new) = &change.new else { return state.snapshot.remove_node(&name) };
        state.snapshot.set_node(new.clone());
        let event = change.old.as_ref().map_or(Some("NodeAdd"), |old| event(old, new));
        event.into_iter().for_each(|event| self.wake(&mut state, Wake::Node, event));
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let mut state = self.state.lock();
        if change.new.is_none() || pods::is_terminal(pod) {
            state.queue.remove(uid);
            if state.snapshot.remove(uid) {
                self.wake(&mut state, Wake::PodGone, "AssignedPodDelete");
            }
            return;
        }
        let Some(spec) = &pod.spec else { return };
        if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
            state.queue.remove(uid);
            state.snapshot.place(uid, node, Claim::of(pod));
        } else if pods::is_terminating(pod) {
            state.queue.remove(uid);
        } else if is_ours(spec) && is_gated(spec) {
            state.queue.gate(uid);
        } else if is_ours(spec) {
            state.queue.put(PodInfo::new(pod.clone()), Instant::now());
            self.changed.notify_one();
        }
    }

    fn wake(&self, state: &mut State, wake: Wake, event: &'static str) {
        let helps = |name: &str, wake| self.profile.filters.iter().any(|f| f.name() == name && f.woken_by(wake));
        state.queue.wake(wake, event, helps, Instant::now());
        self.changed.notify_one();
    }

    /// Decides on one pod and sets the rest in motion.
    fn schedule(self: &Arc<Self>, taken: &Taken, start: &mut usize) {
        let (pod, begun) = (&taken.pod, Instant::now());
        let mut state = self.state.lock();
        if state.snapshot.is_placed(pod.uid()) {
            return;
        }
        let mut since = begun;
        let done = |step| since = self.metrics.step(step, "Success", since);
        match decide(&self.profile, &state.snapshot, pod, start, done) {
            Decision::Place(node) => {
                state.snapshot.place(pod.uid(), &node, pod.claim.clone());
                drop(state);
                let (shared, pod, tried) = (self.clone(), pod.clone(), (taken.attempts, taken.since));
                self.tasks.spawn(async move {
                    if shared.bind(&pod, &node, begun).await {
                        shared.metrics.scheduled(tried.0, tried.1);
                    }
                });
            }
            Decision::Unschedulable { message, by } => {
                state.queue.unschedulable(taken, by, Instant::now());
                drop(state);
                self.metrics.attempted(Outcome::Unschedulable, begun);
                let (shared, pod) = (self.clone(), pod.pod.clone());
                self.tasks.spawn(async move { shared.report(&pod, &message).await });
            }
        }
    }

    /// Whether the pod has its node now.
    async fn bind(&self, pod: &PodInfo, node: &str, begun: Instant) -> bool {
        let Ok(_permit) = self.binding.clone().acquire_owned().await else { return false };
        let metadata = &pod.pod.metadata;
        let (name, namespace) = (metadata.name.as_deref().unwrap_or_default(), metadata.namespace.as_deref());
        let mut binding = Binding {
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
            ..Binding::default()
        };
        binding.metadata.name = Some(name.to_owned());
        binding.metadata.uid.clone_from(&metadata.uid);
        let api: Api<Pod> = Api::namespaced(self.env.client.clone(), namespace.unwrap_or_default());
        let asked = Instant::now();
        match api.create_subresource::<_, serde_json::Value>("binding", name, &PostParams::default(), &binding).await {
            Ok(_) => {
                self.metrics.step("Bind", "Success", asked);
                self.metrics.attempted(Outcome::Scheduled, begun);
                let message = format!("Successfully assigned {}/{name} to {node}", namespace.unwrap_or_default());
                self.recorder.event(pod.pod.as_ref(), EventType::Normal, "Scheduled", message);
                true
            }
            Err(error) => {
                self.metrics.step("Bind", "Error", asked);
                self.metrics.attempted(Outcome::Error, begun);
                self.not_bound(pod, &error);
                false
            }
        }
    }

    /// Gives back what was counted for the pod and tries again later, unless the pod is gone.
    fn not_bound(&self, pod: &PodInfo, error: &kube::Error) {
        let gone = matches!(error, kube::Error::Api(status) if status.code == 404);
        {
            let mut state = self.state.lock();
            state.snapshot.remove(pod.uid());
            match gone {
                true => state.queue.remove(pod.uid()),
                false => state.queue.failed(pod.uid(), Instant::now()),
            }
        }
        self.changed.notify_one();
        if !gone {
            let message = format!("binding rejected: {error}");
            self.recorder.event(pod.pod.as_ref(), EventType::Warning, "FailedScheduling", message);
        }
    }

    /// Tells people why the pod waits: an event, and the condition where it says something else so far.
    async fn report(&self, pod: &Pod, message: &str) {
        self.recorder.event(pod, EventType::Warning, "FailedScheduling", message);
        let same = |c: &PodCondition| c.status == "False" && c.message.as_deref() == Some(message);
        if pods::condition(pod, "PodScheduled").is_some_and(same) {
            return;
        }
        let changed = pods::condition(pod, "PodScheduled").filter(|c| c.status == "False");
        let since = changed.and_then(|c| c.last_transition_time.clone()).unwrap_or_else(|| self.env.clock.time());
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("Unschedulable".to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(since),
            ..PodCondition::default()
        };
        let api: Api<Pod> =
            Api::namespaced(self.env.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default());
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
        if let Err(error) = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            tracing::debug!(%error, pod = name, "the reason for waiting was not written");
        }
    }
}

/// What of a node changed that pods may wait for, by upstream's name of it (`NodeSchedulingPropertiesChange`).
fn event(old: &Node, new: &Node) -> Option<&'static str> {
    let (was, is) = (old.status.as_ref(), new.status.as_ref());
    let allocatable = [was, is].map(|status| status.and_then(|status| status.allocatable.as_ref()));
    let features = [was, is].map(|status| status.and_then(|status| status.declared_features.as_ref()));
    match () {
        () if old.spec != new.spec => Some("NodeUpdateNodeTaint"),
        () if allocatable[0] != allocatable[1] => Some("NodeUpdateNodeAllocatable"),
        () if old.metadata.labels != new.metadata.labels => Some("NodeUpdateNodeLabel"),
        () if features[0] != features[1] => Some("NodeUpdateNodeDeclaredFeature"),
        () => None,
    }
}

fn is_ours(spec: &PodSpec) -> bool {
    spec.scheduler_name.as_deref().unwrap_or(NAME) == NAME
}

fn is_gated(spec: &PodSpec) -> bool {
    spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
}
