//! The worker's steps: what its plan asks for, begun as a task of its own, and what each came to.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodSpec;
use tokio_util::sync::CancellationToken;

use super::{Done, Worker};
use crate::agent::kubelet::model::{Activity, Instance, find_container};
use crate::agent::kubelet::plan;
use crate::agent::kubelet::prepare::{self, Keeper, Prepared, keep_current, prepare};
use crate::agent::kubelet::resize::Applied;
use crate::agent::kubelet::{start, stop, teardown};
use crate::reconcile::events::EventType::{Normal, Warning};

impl Worker {
    pub(super) fn prepare(&mut self) -> Option<Timestamp> {
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

    /// Keeps the volumes current from now on.
    pub(super) fn keep(&mut self, keeper: Arc<Keeper>, adopted: bool) {
        if !has_projections(self.pod().spec.as_ref()) {
            return;
        }
        let keep = keep_current(self.host.clone(), self.pod.subscribe(), keeper, adopted);
        if let Some(before) = self.keeping.replace(tokio::spawn(keep).abort_handle()) {
            before.abort();
        }
    }

    pub(super) fn start(&mut self, start: plan::Start, prepared: &Arc<Prepared>) {
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

    pub(super) fn stop(&mut self, stop: plan::Stop) {
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

    pub(super) fn tear_down(&mut self) -> Option<Timestamp> {
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

    pub(super) fn finish_step(&mut self, done: Done) {
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
                self.keep(prepared.keeper.clone(), false);
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
}

fn has_projections(spec: Option<&PodSpec>) -> bool {
    spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten().any(|volume| {
        let source = volume.config_map.is_some() || volume.secret.is_some();
        source || volume.projected.is_some() || volume.downward_api.is_some()
    })
}
