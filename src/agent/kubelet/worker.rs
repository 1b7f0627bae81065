//! The life of one pod on this node. One task for each pod UID: it takes the newest Pod and whatever happened,
//! plans, has the steps carried out, publishes the status, and sleeps until the next event. It alone changes what
//! is known of its pod.

mod resize;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::handler::{Outcome, Target};
use super::host::Host;
use super::model::{Activity, Condemned, ContainerState, Ending, Finished, Instance, Observed, PodId, find_container};
use super::plan::{self, Plan, plan};
use super::prepare::{self, Keeper, Prepared, keep_current, prepare};
use super::probes::{self, Kind, Probes, Verdict};
use super::record::Record;
use super::resize::{Applied, Verdict as Resizable};
use super::status::{self, NodeFacts};
use super::status_writer::StatusWriter;
use super::{last_words, pid_namespace, start, stop, teardown};
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
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(keeping) = &self.keeping {
            keeping.abort();
        }
        self.host.claims.send_if_modified(|claims| claims.remove(&self.id.uid).is_some());
    }
}

impl Worker {
    /// `seen` is what `adopt` found of the pod, or nothing.
    pub fn new(host: Arc<Host>, pod: Arc<Pod>, seen: Observed) -> Self {
        let id = PodId::of(&pod);
        let writer = StatusWriter::start(host.clone(), id.clone());
        let published = pod.status.clone().unwrap_or_default();
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
        worker
    }

    /// Runs until nothing of the pod is left here and in the API.
    pub async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut claims = self.host.claims.subscribe();
        let mut address = self.host.settings.node_address.clone();
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

    fn prepare(&mut self) -> Option<Timestamp> {
        if self.preparing {
            return None;
        }
        if let Some(at) = self.prepare_after.filter(|at| *at > Timestamp::now()) {
            return Some(at);
        }
        self.preparing = true;
        let (host, pod) = (self.host.clone(), self.pod());
        let keeper = Arc::new(Keeper::new(&host, &pod));
        self.steps.spawn(async move { Done::Prepared(prepare(host, pod, keeper).await) });
        None
    }

    fn start(&mut self, start: plan::Start, prepared: &Arc<Prepared>) {
        let pod = self.pod();
        let Some((_, container)) = pod.spec.as_ref().and_then(|spec| find_container(spec, &start.name)) else { return };
        let target = self.target_of(&start.name);
        let cancel = CancellationToken::new();
        let epoch = self.seen.epoch;
        let state = self.state(&start.name);
        state.activity = Activity::Starting;
        state.retry_at = None;
        if start.after_crash {
            state.crash.restarted(Timestamp::now());
        }
        let job = start::Job {
            pod,
            container,
            target,
            attempt: start.attempt,
            epoch,
            prepared: prepared.clone(),
            cancel: cancel.clone(),
        };
        self.starting.insert(start.name.clone(), cancel);
        let host = self.host.clone();
        self.steps.spawn(async move {
            let result = start::start(&host, &job).await;
            Done::Started { name: start.name, applied: Applied::of(&job.container), result }
        });
    }

    /// The container that an ephemeral one names as its target.
    fn target_of(&self, ephemeral: &str) -> Option<start::Target> {
        let pod = self.pod();
        let mut all = pod.spec.as_ref()?.ephemeral_containers.iter().flatten();
        let name = all.find(|one| one.name == ephemeral)?.target_container_name.clone().filter(|it| !it.is_empty())?;
        let run = self.seen.container(&name).and_then(|state| state.current.as_ref());
        Some(start::Target { id: run.filter(|run| run.is_running()).map(|run| run.id.clone()), name })
    }

    fn stop(&mut self, stop: plan::Stop) {
        let Some(target) = self.target(&stop.name) else { return };
        let until = Timestamp::now() + SignedDuration::from_secs(stop.grace);
        let Some(live) = self.live.get(&stop.name) else { return };
        live.deadline.send_replace(until);
        let job =
            stop::Job { pod: self.pod(), target, deadline: live.deadline.subscribe(), exited: live.exited.clone() };
        self.event(Some(&stop.name), Normal, "Killing", stop.message);
        self.state(&stop.name).activity = Activity::Stopping;
        let host = self.host.clone();
        self.steps.spawn(async move {
            stop::stop(&host, job).await;
            Done::Stopped { name: stop.name }
        });
    }

    fn tear_down(&mut self) -> Option<Timestamp> {
        if self.tearing_down || self.preparing {
            return None;
        }
        if let Some(at) = self.tear_down_after.filter(|at| *at > Timestamp::now()) {
            return Some(at);
        }
        self.tearing_down = true;
        if let Some(keeping) = self.keeping.take() {
            keeping.abort();
        }
        let (host, id) = (self.host.clone(), self.id.clone());
        self.steps.spawn(async move { Done::TornDown(teardown::end(&host, &id).await) });
        None
    }

    fn finish_step(&mut self, done: Done) {
        match done {
            Done::Prepared(result) => self.prepared(result),
            Done::Started { name, applied, result } => self.started(&name, applied, result),
            Done::Resized { name, applied, result } => self.resized(&name, applied, result),
            Done::Stopped { name } => {
                let state = self.state(&name);
                state.activity = Activity::None;
                state.condemned = None;
            }
            Done::Hooked { name, id, outcome } => self.hooked(&name, &id, outcome),
            Done::TornDown(result) => {
                self.tearing_down = false;
                match result {
                    Ok(()) => {
                        self.torn_down = true;
                        self.seen.sandbox = None;
                        self.prepared = None;
                    }
                    Err(error) => {
                        self.event(None, Warning, "FailedKillPod", error.to_string());
                        self.tear_down_after = Some(Timestamp::now() + SignedDuration::from_secs(5));
                    }
                }
            }
        }
    }

    fn prepared(&mut self, result: Result<Prepared, prepare::Error>) {
        self.preparing = false;
        match result {
            Ok(prepared) => {
                if self.seen.sandbox.is_none() {
                    self.seen.epoch += 1;
                }
                self.seen.sandbox = Some(prepared.sandbox.clone());
                let keep = keep_current(self.host.clone(), self.pod(), prepared.keeper.clone());
                if has_projections(self.pod().spec.as_ref()) {
                    self.keeping = Some(tokio::spawn(keep).abort_handle());
                }
                self.prepared = Some(Arc::new(prepared));
                self.prepare_failures = 0;
            }
            Err(error) => {
                self.event(None, Warning, error.reason(), error.to_string());
                // 0.5 s doubling to two minutes, as upstream retries volumes.
                let millis = (500_i64 << self.prepare_failures.min(8)).min(122_000);
                self.prepare_failures += 1;
                self.prepare_after = Some(Timestamp::now() + SignedDuration::from_millis(millis));
            }
        }
    }

    fn started(&mut self, name: &str, applied: Applied, result: Result<Instance, start::Failure>) {
        self.starting.remove(name);
        let state = self.state(name);
        state.activity = Activity::None;
        match result {
            Ok(run) => {
                let older = state.current.replace(run);
                state.applied = Some(applied);
                state.waiting = None;
                state.started = false;
                state.ready = false;
                state.condemned = None;
                if let Some(older) = older {
                    let oldest = state.previous.replace(older.clone());
                    teardown::forget_run(&self.host, &self.id, name, older, oldest);
                }
                if self.state(name).is_running() {
                    self.save();
                    self.attend(name);
                }
            }
            Err(failure) => {
                state.waiting = Some(failure.waiting);
                state.retry_at = Some(failure.retry_at);
            }
        }
    }

    /// Begins to look after a running container: hook, probes, and a look whether it ended meanwhile.
    fn attend(&mut self, name: &str) {
        let Some(target) = self.target(name) else { return };
        let live =
            Live { exited: CancellationToken::new(), deadline: watch::Sender::new(Timestamp::MAX), probes: None };
        self.live.insert(name.to_owned(), live);
        let adopted = self.state(name).started;
        let hook = target.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
        match hook.filter(|_| !adopted) {
            Some(hook) => {
                let name = name.to_owned();
                self.steps.spawn(async move {
                    let outcome = target.hook(&hook).await;
                    Done::Hooked { name, id: target.id, outcome }
                });
            }
            None => self.probe(name, &target),
        }
    }

    fn hooked(&mut self, name: &str, id: &str, outcome: Outcome) {
        let state = self.state(name);
        if !state.current.as_ref().is_some_and(|run| run.id == id && run.is_running()) {
            return;
        }
        match outcome {
            Outcome::Success => {
                if let Some(target) = self.target(name) {
                    self.probe(name, &target);
                }
            }
            Outcome::Failure(why) | Outcome::Unknown(why) => {
                state.condemned = Some(Condemned { why: "FailedPostStartHook".to_owned(), grace: None });
                self.event(Some(name), Warning, "FailedPostStartHook", format!("PostStartHook failed: {why}"));
            }
        }
    }

    fn probe(&mut self, name: &str, target: &Target) {
        let container = &target.container;
        let state = self.state(name);
        let started = state.started || container.startup_probe.is_none();
        state.started = started;
        state.ready |= container.readiness_probe.is_none();
        let probes = probes::watch(&self.host, &self.pod.subscribe(), target, started, &self.verdicts.0);
        if let Some(live) = self.live.get_mut(name) {
            live.probes = Some(probes);
        }
    }

    fn judge(&mut self, verdict: &Verdict) {
        let pod = self.pod();
        let name = &verdict.container;
        let Some((_, container)) = pod.spec.as_ref().and_then(|spec| find_container(spec, name)) else { return };
        let state = self.state(name);
        if !state.current.as_ref().is_some_and(|run| run.id == verdict.id && run.is_running()) {
            return;
        }
        let condemn = |what: &str, probe: Option<&k8s_openapi::api::core::v1::Probe>| Condemned {
            why: format!("Container {name} failed {what} probe"),
            grace: probe.and_then(|probe| probe.termination_grace_period_seconds),
        };
        match (verdict.kind, verdict.healthy) {
            (Kind::Readiness, healthy) => state.ready = healthy,
            (Kind::Startup, true) => {
                state.started = true;
                if let Some(probes) = self.live.get(name).and_then(|live| live.probes.as_ref()) {
                    probes.started.send_replace(true);
                }
            }
            (Kind::Startup, false) => state.condemned = Some(condemn("startup", container.startup_probe.as_ref())),
            (Kind::Liveness, false) => state.condemned = Some(condemn("liveness", container.liveness_probe.as_ref())),
            (Kind::Liveness, true) => {}
        }
    }

    /// The runtime says that a container has ended.
    fn ended(&mut self, info: &ContainerInfo) {
        if pid_namespace::is_pause(info) {
            // All processes of the namespace have died with it: the next start makes another one.
            self.prepared = None;
            return;
        }
        let pod = self.pod();
        let words = last_words::read(&self.host, &pod, info);
        let state = self.state(&info.name);
        let Some(run) = state.current.as_mut().filter(|run| run.id == info.id && run.finished.is_none()) else {
            return;
        };
        run.started_at = run.started_at.or(info.started_at);
        run.finished = Some(finished(info, words));
        state.started = false;
        state.ready = false;
        state.condemned = None;
        if let Some(live) = self.live.remove(&info.name) {
            live.exited.cancel();
        }
    }

    fn target(&self, name: &str) -> Option<Target> {
        let pod = self.pod();
        let (_, container) = find_container(pod.spec.as_ref()?, name)?;
        let run = self.seen.container(name)?.current.as_ref()?;
        let node = self.host.settings.node_address.get();
        let ip = self.seen.sandbox.as_ref().and_then(|sandbox| sandbox.ip).map_or(node, Into::into);
        Some(Target { runtime: self.host.runtime.clone(), container, id: run.id.clone(), ip })
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

/// How a run ended, from what the runtime says.
pub fn finished(info: &ContainerInfo, message: Option<String>) -> Finished {
    let known = info.state == crate::agent::runtime::ContainerState::Exited;
    let exit_code = info.exit_code.unwrap_or(255);
    let reason = match info.reason.as_str() {
        _ if !known => "Unknown",
        _ if info.oom_killed => "OOMKilled",
        "" if exit_code == 0 => "Completed",
        "" => "Error",
        reason => reason,
    };
    let own = Some(info.message.clone()).filter(|message| !message.is_empty());
    Finished {
        exit_code,
        reason: reason.to_owned(),
        message: message.or(own),
        at: info.finished_at.unwrap_or_else(Timestamp::now),
    }
}

fn has_projections(spec: Option<&PodSpec>) -> bool {
    spec.and_then(|spec| spec.volumes.as_ref())
        .into_iter()
        .flatten()
        .any(|volume| volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some())
}

fn ready(status: Option<&PodStatus>) -> Option<&str> {
    let conditions = status?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready").map(|condition| condition.status.as_str())
}
