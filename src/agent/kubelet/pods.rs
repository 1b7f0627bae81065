//! Which pods this node has: follows the API's pods that are bound here and the runtime's events, and keeps one
//! worker for each pod UID. Decides nothing about a pod itself.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::adopt;
use super::host::Host;
use super::model::PodId;
use super::prepare::references;
use super::record::Record;
use super::sources::remembered_as;
use super::teardown;
use super::worker::{News, Worker};
use crate::agent::runtime::{ContainerInfo, ContainerState, RuntimeEvent};
use crate::reconcile::{Change, Informer};

/// The workers by pod UID.
#[derive(Default)]
struct Workers(HashMap<String, (PodId, mpsc::UnboundedSender<News>)>);

/// All pods of the node.
pub struct Pods {
    host: Arc<Host>,
    /// The pods that the API binds to this node.
    bound: Informer<Pod>,
    workers: Mutex<Workers>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// What the runtime had when we came.
    found: Mutex<Vec<ContainerInfo>>,
}

impl Pods {
    pub fn new(host: Arc<Host>, bound: Informer<Pod>, found: Vec<ContainerInfo>, stop: CancellationToken) -> Arc<Self> {
        let (tasks, found) = (TaskTracker::new(), Mutex::new(found));
        Arc::new(Self { host, bound, workers: Mutex::default(), tasks, stop, found })
    }

    /// Follows the pods bound to this node and the runtime's events until stopped. Without a server it begins with those
    /// that are remembered; only the server's own word ends what it does not name.
    pub async fn run(self: Arc<Self>) {
        let events = self.host.runtime.events();
        if self.stop.run_until_cancelled(self.bound.wait_ready()).await.is_none() {
            return;
        }
        let (changes, mut changed) = mpsc::unbounded_channel();
        self.bound.on_change(move |change: &Change<Pod>| {
            let _ = changes.send((change.old.clone(), change.new.clone()));
        });
        // Before the runtime is followed: what ends must find its worker.
        while let Ok((old, new)) = changed.try_recv() {
            self.clone().apply(old.as_deref(), new);
        }
        self.tasks.spawn(self.clone().follow_runtime(events));
        let mut swept = false;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                change = changed.recv() => match change {
                    Some((old, new)) => self.clone().apply(old.as_deref(), new),
                    None => break,
                },
                () = self.bound.wait_confirmed(), if !swept => {
                    swept = true;
                    self.sweep(&self.bound.store().state()).await;
                    self.forget_sources();
                }
            }
        }
        self.workers.lock().0.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn apply(self: Arc<Self>, old: Option<&Pod>, new: Option<Arc<Pod>>) {
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        if let Some(old) = old
            && new.as_deref().map(uid) != Some(uid(old))
        {
            self.send(&uid(old), News::Gone);
        }
        let Some(pod) = new else { return };
        if self.send(&uid(&pod), News::Pod(pod.clone())) {
            return;
        }
        self.begin(pod, None);
    }

    /// False where there is no such worker.
    fn send(&self, uid: &str, news: News) -> bool {
        self.workers.lock().0.get(uid).is_some_and(|(_, worker)| worker.send(news).is_ok())
    }

    /// Starts a worker. `orphan` says that the API does not know the pod any more.
    fn begin(self: Arc<Self>, pod: Arc<Pod>, orphan: Option<Record>) {
        let id = PodId::of(&pod);
        let is_orphan = orphan.is_some();
        let record = orphan.or_else(|| Record::load(&self.host.pod_dir(&id.uid)));
        let ended =
            matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"));
        if ended && record.is_none() && pod.metadata.deletion_timestamp.is_none() {
            // It ran to its end, perhaps on an earlier life of this node: nothing is to be done until it is deleted.
            return;
        }
        let found: Vec<_> = {
            let found = self.found.lock();
            found.iter().filter(|info| info.pod_uid == id.uid).cloned().collect()
        };
        let seen = adopt::observe(&self.host, &pod, record, &found);
        let (sender, news) = mpsc::unbounded_channel();
        let first = if is_orphan { News::Gone } else { News::Pod(pod.clone()) };
        let _ = sender.send(first);
        self.workers.lock().0.insert(id.uid.clone(), (id.clone(), sender));
        let worker = Worker::new(self.host.clone(), pod, seen);
        let stop = self.stop.clone();
        let pods = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                // First: a change that comes while all stop finds no worker and begins one, which knows nothing of what was
                // started since we came, and must not write that down.
                biased;
                () = stop.cancelled() => return,
                () = worker.run(news) => {}
            }
            pods.workers.lock().0.remove(&id.uid);
            pods.host.statuses.lock().remove(&id.uid);
            if !stop.is_cancelled() {
                teardown::forget(&pods.host, &id);
                pods.forget_sources();
            }
        });
    }

    /// Forgets the ConfigMaps and Secrets that none of the pods names.
    fn forget_sources(&self) {
        let mut in_use = HashSet::new();
        for pod in self.bound.store().state() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let (maps, secrets) = pod.spec.as_ref().map(references).unwrap_or_default();
            in_use.extend(remembered_as(namespace, &maps, &secrets));
        }
        self.host.sources.forget_others(&in_use);
    }

    /// Ends what earlier processes left of pods that the API does not know.
    async fn sweep(self: &Arc<Self>, known: &[Arc<Pod>]) {
        let mut known: HashSet<_> = known.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        // Who has a worker is told by it.
        known.extend(self.workers.lock().0.keys().cloned());
        let mut orphans: HashMap<String, Record> = Record::all(&self.host.settings.pods_dir)
            .into_iter()
            .filter(|record| !known.contains(&record.pod.uid))
            .map(|record| (record.pod.uid.clone(), record))
            .collect();
        for info in self.found.lock().iter().filter(|info| !known.contains(&info.pod_uid)) {
            orphans.entry(info.pod_uid.clone()).or_insert_with(|| unrecorded(&self.host, info));
        }
        for (_, record) in orphans {
            let pod = stand_in(&record);
            self.clone().begin(Arc::new(pod), Some(record));
        }
        for uid in self.host.sandboxes.owners() {
            if !known.contains(&uid)
                && !self.workers.lock().0.contains_key(&uid)
                && let Err(error) = self.host.sandboxes.remove(&uid).await
            {
                tracing::warn!(uid, %error, "left-over sandbox not removed");
            }
        }
    }

    async fn follow_runtime(self: Arc<Self>, mut events: tokio::sync::broadcast::Receiver<RuntimeEvent>) {
        use tokio::sync::broadcast::error::RecvError;
        // Something may have ended between the first list and now.
        self.list_ended().await;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.stop.cancelled() => return,
            };
            match event {
                Ok(RuntimeEvent::Exited { id, .. }) => self.exited(&id).await,
                Ok(RuntimeEvent::Started { .. } | RuntimeEvent::Oom { .. }) => {}
                Ok(RuntimeEvent::Resync) | Err(RecvError::Lagged(_)) => self.list_ended().await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn exited(&self, id: &str) {
        match self.host.runtime.container(id).await {
            Ok(Some(info)) => self.report(info),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(id, %error, "exit of a container not read");
                self.list_ended().await;
            }
        }
    }

    async fn list_ended(&self) {
        match self.host.runtime.containers().await {
            Ok(all) => all.into_iter().for_each(|info| self.report(info)),
            Err(error) => tracing::warn!(%error, "containers not listed"),
        }
    }

    fn report(&self, info: ContainerInfo) {
        if matches!(info.state, ContainerState::Exited | ContainerState::Unknown) {
            self.send(&info.pod_uid.clone(), News::Ended(Box::new(info)));
        }
    }
}

fn unrecorded(host: &Host, info: &ContainerInfo) -> Record {
    Record {
        pod: PodId { namespace: info.namespace.clone(), name: info.pod_name.clone(), uid: info.pod_uid.clone() },
        grace: 30,
        boot: host.boot.clone(),
        epoch: 1,
        anew: 0,
        start_time: None,
        containers: Default::default(),
    }
}

/// A Pod with just enough in it to be ended.
fn stand_in(record: &Record) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = Some(record.pod.name.clone());
    pod.metadata.namespace = Some(record.pod.namespace.clone());
    pod.metadata.uid = Some(record.pod.uid.clone());
    let container = |name: &String| k8s_openapi::api::core::v1::Container { name: name.clone(), ..Default::default() };
    pod.spec = Some(k8s_openapi::api::core::v1::PodSpec {
        containers: record.containers.keys().map(container).collect(),
        termination_grace_period_seconds: Some(record.grace),
        ..Default::default()
    });
    pod
}
