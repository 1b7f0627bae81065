//! The life of one pod on this node. One task for each pod UID: it takes the newest Pod and whatever happened,
//! plans, has the steps carried out, publishes the status, and sleeps until the next event. It alone changes what
//! is known of its pod.

mod care;
mod resize;
mod steps;

pub use care::finished;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::handler::Outcome;
use super::host::Host;
use super::model::{ContainerState, Ending, Instance, Observed, PodId};
use super::plan::{self, Plan, plan};
use super::prepare::{self, Keeper, Prepared};
use super::probes::{Probes, Verdict};
use super::record::Record;
use super::resize::{Applied, Verdict as Resizable};
use super::status::{self, NodeFacts};
use super::status_writer::StatusWriter;
use super::{start, teardown};
use crate::agent::runtime::ContainerInfo;
use crate::reconcile::events::EventType::{Normal, Warning};

/// What reaches a worker from outside.
#[derive(Clone, Debug)]
pub enum News {
    /// The API's newest object.
    Pod(Arc<Pod>),
    /// The API has no such pod any more.
    Gone,
    /// A container of the pod has ended, as the runtime tells it.
    Ended(Box<ContainerInfo>),
}

/// What a step of the worker's own came to.
enum Done {
    Prepared(Result<Prepared, prepare::Error>),
    Started { name: String, applied: Applied, result: Result<Instance, start::Failure> },
    Stopped { name: String },
    Resized { name: String, applied: Applied, result: Result<(), String> },
    Hooked { name: String, id: String, outcome: Outcome },
    TornDown(Result<(), teardown::Error>),
}

/// The parts of a running container that live in this process only.
struct Live {
    exited: CancellationToken,
    deadline: watch::Sender<Timestamp>,
    probes: Option<Probes>,
}

pub struct Worker {
    host: Arc<Host>,
    id: PodId,
    pod: watch::Sender<Arc<Pod>>,
    seen: Observed,
    /// The API object is gone.
    gone: bool,
    prepared: Option<Arc<Prepared>>,
    preparing: bool,
    prepare_after: Option<Timestamp>,
    prepare_failures: u32,
    live: HashMap<String, Live>,
    starting: HashMap<String, CancellationToken>,
    steps: JoinSet<Done>,
    verdicts: (mpsc::UnboundedSender<Verdict>, mpsc::UnboundedReceiver<Verdict>),
    torn_down: bool,
    tearing_down: bool,
    tear_down_after: Option<Timestamp>,
    keeping: Option<AbortHandle>,
    published: PodStatus,
    saved: Option<Record>,
    writer: StatusWriter,
    /// How long it takes is told, or was not seen from the beginning.
    start_told: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(keeping) = &self.keeping {
            keeping.abort();
        }
        self.host.claims.send_if_modified(|claims| claims.remove(&self.id.uid).is_some());
        self.host.pod_starts.forget(&self.id.uid);
    }
}

impl Worker {
    /// `seen` is what `adopt` found of the pod, or nothing.
    pub fn new(host: Arc<Host>, pod: Arc<Pod>, seen: Observed) -> Self {
        let id = PodId::of(&pod);
        let writer = StatusWriter::start(host.clone(), id.clone());
        let published = pod.status.clone().unwrap_or_default();
        let start_told = !seen.containers.is_empty();
        if !start_told {
            host.pod_starts.begin(&id.uid);
        }
        let mut worker = Self {
            host,
            id,
            pod: watch::Sender::new(pod),
            seen,
            gone: false,
            prepared: None,
            preparing: false,
            prepare_after: None,
            prepare_failures: 0,
            live: HashMap::new(),
            starting: HashMap::new(),
            steps: JoinSet::new(),
            verdicts: mpsc::unbounded_channel(),
            torn_down: false,
            tearing_down: false,
            tear_down_after: None,
            keeping: None,
            published,
            saved: None,
            writer,
            start_told,
        };
        worker.seen.start_time.get_or_insert_with(Timestamp::now);
        let running: Vec<_> = worker
            .seen
            .containers
            .iter()
            .filter(|(_, state)| state.is_running())
            .map(|(name, _)| name.clone())
            .collect();
        running.iter().for_each(|name| worker.attend(name));
        if !running.is_empty() {
            worker.keep(Arc::new(Keeper::new(&worker.host, &worker.pod())), true);
        }
        worker
    }

    /// Runs until nothing of the pod is left here and in the API.
    pub async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut claims = self.host.claims.subscribe();
        let mut address = self.host.settings.node_address.clone();
        // Before the first plan: a pod that is to end must not be begun.
        while let Ok(one) = news.try_recv() {
            self.take(one);
        }
        loop {
            claims.mark_unchanged();
            self.consider_resize();
            let plan = plan(&self.pod(), &self.seen, Timestamp::now());
            let wake = self.execute(plan);
            self.save();
            self.publish();
            if self.gone && self.torn_down {
                return;
            }
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep(crate::reconcile::clock::until(Timestamp::now(), at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                one = news.recv() => match one {
                    Some(one) => {
                        self.take(one);
                        while let Ok(more) = news.try_recv() {
                            self.take(more);
                        }
                    }
                    // The kubelet is stopping: pods keep running.
                    None => return,
                },
                Some(done) = self.steps.join_next() => match done {
                    Ok(done) => self.finish_step(done),
                    Err(error) => tracing::error!(pod = %self.id, %error, "a step of the pod's worker failed"),
                },
                Some(verdict) = self.verdicts.1.recv() => self.judge(&verdict),
                // Others may have left what this pod waits for.
                _ = claims.changed(), if matches!(self.seen.resize.verdict, Resizable::Deferred(_)) => {}
                // The status shows it.
                () = address.changed() => {}
                () = sleep => {}
            }
        }
    }

    fn pod(&self) -> Arc<Pod> {
        self.pod.borrow().clone()
    }

    fn state(&mut self, name: &str) -> &mut ContainerState {
        self.seen.containers.entry(name.to_owned()).or_default()
    }

    fn event(&self, container: Option<&str>, kind: crate::reconcile::events::EventType, reason: &str, message: String) {
        self.host.event(&self.pod(), container, kind, reason, message);
    }

    fn take(&mut self, news: News) {
        match news {
            News::Pod(pod) => {
                let disturbed = ready(pod.status.as_ref()) != ready(Some(&self.published));
                let theirs_is_older = pod.status == self.pod().status;
                self.pod.send_replace(pod);
                if disturbed && !theirs_is_older {
                    self.writer.repeat();
                }
                self.consider_end();
            }
            News::Gone => {
                self.gone = true;
                self.consider_end();
            }
            News::Ended(info) => self.ended(&info),
        }
    }

    /// A deletion in the API ends the pod; a shorter grace period than before hastens it.
    fn consider_end(&mut self) {
        let pod = self.pod();
        if pod.metadata.deletion_timestamp.is_none() && !self.gone {
            return;
        }
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| plan::grace_seconds(&pod)).max(0);
        let failure = self.seen.ending.as_ref().and_then(|ending| ending.failure.clone());
        if self.seen.ending.as_ref().is_some_and(|ending| ending.grace <= grace) {
            return;
        }
        self.end(Ending { grace, failure });
    }

    fn end(&mut self, ending: Ending) {
        let until = Timestamp::now() + SignedDuration::from_secs(ending.grace);
        for live in self.live.values() {
            live.deadline.send_if_modified(|deadline| {
                let sooner = until < *deadline;
                *deadline = until.min(*deadline);
                sooner
            });
        }
        self.starting.values().for_each(CancellationToken::cancel);
        self.seen.ending = Some(ending);
    }

    /// Carries out a plan; returns when to look again.
    fn execute(&mut self, plan: Plan) -> Option<Timestamp> {
        let mut wake = plan.wake_at;
        let mut sooner = |at: Option<Timestamp>| wake = wake.into_iter().chain(at).min();
        if let Some(ending) = plan.end {
            let message = ending.failure.as_ref().map(|why| why.message.clone()).unwrap_or_default();
            let reason = ending.failure.as_ref().map_or("Killing", |why| why.reason);
            self.event(None, Normal, reason, message);
            self.end(ending);
            sooner(Some(Timestamp::now()));
        }
        if let Some(trigger) = plan.begin_anew {
            self.seen.epoch += 1;
            self.seen.anew = self.seen.epoch;
            self.state(&trigger).crash.restarted(Timestamp::now());
            sooner(Some(Timestamp::now()));
        }
        let wanted = plan.create_sandbox || !plan.start.is_empty();
        if wanted && self.prepared.is_none() {
            sooner(self.prepare());
        }
        for (name, why) in plan.waiting {
            let state = self.state(&name);
            if state.waiting.as_ref() != Some(&why) {
                state.waiting = Some(why.clone());
                let message = format!("Back-off restarting failed container {name} in pod {}", self.id);
                self.event(Some(&name), Warning, "BackOff", message);
            }
        }
        if let Some(prepared) = self.prepared.clone().filter(|_| !plan.create_sandbox) {
            for start in plan.start {
                self.start(start, &prepared);
            }
        }
        for stop in plan.stop {
            self.stop(stop);
        }
        for name in plan.resize {
            self.resize(&name);
        }
        if plan.finished && !self.torn_down {
            sooner(self.tear_down());
        }
        wake
    }

    fn publish(&mut self) {
        if self.gone {
            return;
        }
        let pod = self.pod();
        let node = NodeFacts { ip: self.host.settings.node_address.get() };
        let status = status::generate(&pod, &self.published, &self.seen, node, Timestamp::now());
        if self.published != status {
            self.host.statuses.lock().insert(self.id.uid.clone(), Arc::new(status.clone()));
        }
        if !self.start_told {
            self.start_told = self.host.pod_starts.observe(&pod, &status, Timestamp::now());
        }
        self.published = status.clone();
        self.writer.publish(status);
        if self.torn_down && pod.metadata.deletion_timestamp.is_some() {
            self.writer.delete();
        }
    }

    fn save(&mut self) {
        if self.torn_down && self.gone {
            return;
        }
        let pod = self.pod();
        let record = Record {
            pod: self.id.clone(),
            grace: plan::grace_seconds(&pod),
            boot: self.host.boot.clone(),
            epoch: self.seen.epoch,
            anew: self.seen.anew,
            start_time: self.seen.start_time,
            containers: self.seen.containers.clone(),
        };
        if self.saved.as_ref().is_some_and(|saved| saved.same(&record)) {
            return;
        }
        match record.save(&self.host.pod_dir(&self.id.uid)) {
            Ok(()) => self.saved = Some(record),
            Err(error) => tracing::warn!(pod = %self.id, %error, "pod record not saved"),
        }
    }
}

fn ready(status: Option<&PodStatus>) -> Option<&str> {
    let conditions = status?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}
