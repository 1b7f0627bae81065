//! The worker's care for containers that run: their hooks and probes, and how they end.

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Done, Live, Worker};
use crate::agent::kubelet::handler::{Outcome, Target};
use crate::agent::kubelet::model::{Condemned, Finished, find_container};
use crate::agent::kubelet::probes::{self, Kind, Verdict};
use crate::agent::kubelet::{last_words, pid_namespace};
use crate::agent::runtime::ContainerInfo;
use crate::reconcile::events::EventType::Warning;

impl Worker {
    /// Begins to look after a running container: hook, probes, and a look whether it ended meanwhile.
    pub(super) fn attend(&mut self, name: &str) {
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

    pub(super) fn hooked(&mut self, name: &str, id: &str, outcome: Outcome) {
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

    pub(super) fn judge(&mut self, verdict: &Verdict) {
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
    pub(super) fn ended(&mut self, info: &ContainerInfo) {
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

    pub(super) fn target(&self, name: &str) -> Option<Target> {
        let pod = self.pod();
        let (_, container) = find_container(pod.spec.as_ref()?, name)?;
        let run = self.seen.container(name)?.current.as_ref()?;
        let node = self.host.settings.node_address.get();
        let ip = self.seen.sandbox.as_ref().and_then(|sandbox| sandbox.ip).map_or(node, Into::into);
        Some(Target { runtime: self.host.runtime.clone(), container, id: run.id.clone(), ip })
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
