//! What must be started, stopped or torn down for one pod: a pure function of the Pod, what was observed
//! and the time. It does nothing itself; the worker executes what it returns and plans again.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::model::{
    Activity, ContainerState, Ending, Finished, Instance, Observed, PodId, Role, Waiting, containers, spec_hash,
};
use super::resize::{self, Change, Verdict};
use super::words;
use crate::api::pod::{RESTART_ALL, restart_rule};

/// The next steps, all of which may be taken at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub create_sandbox: bool,
    pub start: Vec<Start>,
    pub stop: Vec<Stop>,
    /// Running containers that get other resources.
    pub resize: Vec<String>,
    /// Containers that wait, and why, until something else happens.
    pub waiting: Vec<(String, Waiting)>,
    /// The container whose end starts all of them again, as soon as nothing runs any more.
    pub begin_anew: Option<String>,
    /// The kubelet itself ends the pod.
    pub end: Option<Ending>,
    /// Nothing is left to run, ever: network and volumes can go.
    pub finished: bool,
    /// When to plan again if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    pub name: String,
    pub role: Role,
    pub attempt: u32,
    /// It ran before in this pod and ended by itself.
    pub after_crash: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub name: String,
    /// The event's words.
    pub message: String,
    /// Seconds; the probe's own where it has one.
    pub grace: i64,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |sooner| sooner.min(at)));
    }
}

/// Decides the next steps of `pod`.
pub fn plan(pod: &Pod, seen: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = pod.spec.as_ref() else { return plan };
    if let Some(ending) = &seen.ending {
        stop_in_order(spec, seen, ending.grace, &mut plan);
        plan.finished = seen.is_quiet();
        return plan;
    }
    if let Some(over) = deadline_passed(pod, seen, now, &mut plan) {
        plan.end = Some(over);
        return plan;
    }
    if let Some((name, end)) = trigger(spec, seen) {
        Planner { pod, spec, seen, now }.all_again(name, end, &mut plan);
        return plan;
    }
    if is_complete(spec, seen) {
        let grace = grace_seconds(pod);
        stop_in_order(spec, seen, grace, &mut plan);
        plan.finished = seen.is_quiet();
        return plan;
    }
    if seen.sandbox.is_none() {
        plan.create_sandbox = true;
        return plan;
    }
    let planner = Planner { pod, spec, seen, now };
    if planner.init_containers(&mut plan) {
        for container in &spec.containers {
            planner.container(Role::Main, container, &mut plan);
        }
    }
    planner.ephemeral(&mut plan);
    plan
}

/// Seconds a container gets between TERM and KILL when nobody says otherwise.
pub fn grace_seconds(pod: &Pod) -> i64 {
    pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30)
}

fn deadline_passed(pod: &Pod, seen: &Observed, now: Timestamp, plan: &mut Plan) -> Option<Ending> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let over = seen.start_time? + SignedDuration::from_secs(seconds);
    if over > now {
        plan.wake(over);
        return None;
    }
    let message = "Pod was active on the node longer than the specified deadline".to_owned();
    Some(Ending { grace: grace_seconds(pod), failure: Some(Waiting { reason: "DeadlineExceeded", message }) })
}

/// The pod has run to its end: every main container is over for good, or an init container failed for good.
pub fn is_complete(spec: &PodSpec, seen: &Observed) -> bool {
    let over = |role, container: &Container| {
        seen.container(&container.name).is_some_and(|state| state.activity != Activity::Starting)
            && seen
                .run(&container.name)
                .is_some_and(|run| run.finished.is_some() && !restarts(spec, role, container, run))
    };
    let init_failed = containers(spec).filter(|(role, _)| *role == Role::Init).any(|(role, container)| {
        over(role, container) && seen.run(&container.name).is_some_and(|run| !run.succeeded())
    });
    init_failed || spec.containers.iter().all(|container| over(Role::Main, container))
}

/// Whether a container that ended is to be started again by its restart policy.
pub fn restarts(spec: &PodSpec, role: Role, container: &Container, run: &Instance) -> bool {
    let Some(end) = &run.finished else { return false };
    if role == Role::Ephemeral {
        return false;
    }
    // Whatever a rule does, it starts the container again.
    if restart_rule(container, end.exit_code).is_some() {
        return true;
    }
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref()).unwrap_or("Always");
    match (role, policy) {
        (Role::Sidecar, _) => true,
        (Role::Init, "Always") | (_, "OnFailure") => end.exit_code != 0,
        (_, "Never") => false,
        _ => true,
    }
}

/// The container whose end has all of the pod's containers start again, by one of its rules.
pub fn trigger<'a>(spec: &'a PodSpec, seen: &'a Observed) -> Option<(&'a str, &'a Finished)> {
    containers(spec).find_map(|(_, container)| {
        let end = seen.run(&container.name)?.finished.as_ref()?;
        (restart_rule(container, end.exit_code)?.action == RESTART_ALL).then_some((container.name.as_str(), end))
    })
}

/// Main containers first, then sidecars one by one, the last started first.
fn stop_in_order(spec: &PodSpec, seen: &Observed, grace: i64, plan: &mut Plan) {
    let stop = |name: &str, plan: &mut Plan| {
        let Some(state) = seen.container(name) else { return };
        if state.is_running() && state.activity == Activity::None {
            plan.stop.push(Stop { name: name.to_owned(), message: format!("Stopping container {name}"), grace });
        }
    };
    let sidecars: Vec<_> = containers(spec).filter(|(role, _)| *role == Role::Sidecar).map(|(_, c)| c).collect();
    let busy =
        |name: &str| seen.container(name).is_some_and(|state| state.is_running() || state.activity != Activity::None);
    let others = seen.containers.keys().filter(|name| !sidecars.iter().any(|sidecar| sidecar.name == **name));
    let mut others_busy = false;
    for name in others {
        stop(name, plan);
        others_busy |= busy(name);
    }
    if others_busy {
        return;
    }
    if let Some(last) = sidecars.iter().rev().find(|sidecar| busy(&sidecar.name)) {
        stop(&last.name, plan);
    }
}

struct Planner<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    seen: &'a Observed,
    now: Timestamp,
}

impl Planner<'_> {
    /// Plans the init containers; true when the main ones may run.
    fn init_containers(&self, plan: &mut Plan) -> bool {
        let begun = self.spec.containers.iter().any(|container| {
            self.seen.container(&container.name).is_some_and(|state| state.in_epoch(self.seen.epoch).is_some())
        });
        for (role, container) in containers(self.spec).filter(|(role, _)| *role != Role::Main) {
            let state = self.seen.container(&container.name);
            match role {
                Role::Sidecar => {
                    self.container(role, container, plan);
                    if !begun && !state.is_some_and(|state| state.is_running() && state.started) {
                        return false;
                    }
                }
                _ if begun => {}
                _ => {
                    let run = state.and_then(|state| state.in_epoch(self.seen.epoch));
                    if !run.is_some_and(Instance::succeeded) {
                        self.container(role, container, plan);
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Everything but ephemeral containers is killed, whatever it would like to do before; then the pod begins anew in its
    /// sandbox, not more often than a container that crashes.
    fn all_again(&self, trigger: &str, end: &Finished, plan: &mut Plan) {
        let mut busy = false;
        for (_, container) in containers(self.spec) {
            let Some(state) = self.seen.container(&container.name) else { continue };
            busy |= state.is_running() || state.activity != Activity::None;
            if state.is_running() && state.activity == Activity::None {
                let message = format!("Stopping container {}", container.name);
                plan.stop.push(Stop { name: container.name.clone(), message, grace: 0 });
            }
        }
        let loops = self.seen.container(trigger).and_then(|state| state.crash.delay(end.at, self.now));
        if let Some((until, seconds)) = loops {
            let message = words::crash_loop(seconds, trigger, &PodId::of(self.pod));
            plan.waiting.push((trigger.to_owned(), Waiting { reason: "CrashLoopBackOff", message }));
            plan.wake(until);
        } else if !busy {
            plan.begin_anew = Some(trigger.to_owned());
        }
    }

    fn ephemeral(&self, plan: &mut Plan) {
        for container in self.spec.ephemeral_containers.iter().flatten() {
            let state = self.seen.container(&container.name);
            if state.is_none_or(|state| state.current.is_none() && state.activity == Activity::None)
                && self.may_retry(state, plan)
            {
                plan.start.push(Start {
                    name: container.name.clone(),
                    role: Role::Ephemeral,
                    attempt: 0,
                    after_crash: false,
                });
            }
        }
    }

    /// One container: leave it, start it, start it again, or stop it because it changed or is ill.
    fn container(&self, role: Role, container: &Container, plan: &mut Plan) {
        let state = self.seen.container(&container.name);
        if state.is_some_and(|state| state.activity != Activity::None) {
            return;
        }
        let current = state.and_then(|state| state.current.as_ref());
        match current {
            Some(run) if run.is_running() => self.running(container, state, run, plan),
            Some(run) if run.finished.is_some() => {
                let anew = run.epoch < self.seen.anew || run.epoch != self.seen.epoch && role == Role::Init;
                let replaced = run.hash != spec_hash(container);
                if anew || replaced || restarts(self.spec, role, container, run) {
                    self.start_again(role, container, state, run, plan);
                }
            }
            _ if self.may_retry(state, plan) => {
                let attempt = state.map_or(0, ContainerState::next_attempt);
                plan.start.push(Start { name: container.name.clone(), role, attempt, after_crash: false });
            }
            _ => {}
        }
    }

    fn running(&self, container: &Container, state: Option<&ContainerState>, run: &Instance, plan: &mut Plan) {
        let name = &container.name;
        let usual = grace_seconds(self.pod);
        let (message, grace) = if run.hash != spec_hash(container) {
            (format!("Container {name} definition changed, will be restarted"), usual)
        } else if self.resizes(container, state, plan) {
            (format!("Container {name} resize requires restart"), usual)
        } else if let Some(condemned) = state.and_then(|state| state.condemned.as_ref()) {
            let sequel = if container_restarts(self.spec, container) { ", will be restarted" } else { "" };
            (format!("{}{sequel}", condemned.why), condemned.grace.unwrap_or(usual))
        } else {
            return;
        };
        plan.stop.push(Stop { name: name.clone(), message, grace });
    }

    /// Plans new resources where there are any to give; true where the container must be restarted for them.
    fn resizes(&self, container: &Container, state: Option<&ContainerState>, plan: &mut Plan) -> bool {
        let Some(applied) = state.and_then(|state| state.applied.as_ref()) else { return false };
        let progress = &self.seen.resize;
        match resize::change(container, applied) {
            Change::None => false,
            _ if progress.verdict != Verdict::Fits => false,
            Change::Restart => true,
            Change::InPlace => {
                match progress.failed {
                    Some((_, at)) if at > self.now => plan.wake(at),
                    _ => plan.resize.push(container.name.clone()),
                }
                false
            }
        }
    }

    fn start_again(
        &self,
        role: Role,
        container: &Container,
        state: Option<&ContainerState>,
        run: &Instance,
        plan: &mut Plan,
    ) {
        let (Some(state), Some(end)) = (state, &run.finished) else { return };
        let same_sandbox = run.epoch == self.seen.epoch;
        if same_sandbox && let Some((until, seconds)) = state.crash.delay(end.at, self.now) {
            let message = words::crash_loop(seconds, &container.name, &PodId::of(self.pod));
            plan.waiting.push((container.name.clone(), Waiting { reason: "CrashLoopBackOff", message }));
            plan.wake(until);
        } else if self.may_retry(Some(state), plan) {
            plan.start.push(Start {
                name: container.name.clone(),
                role,
                attempt: run.attempt + 1,
                after_crash: same_sandbox,
            });
        }
    }

    fn may_retry(&self, state: Option<&ContainerState>, plan: &mut Plan) -> bool {
        match state.and_then(|state| state.retry_at) {
            Some(at) if at > self.now => {
                plan.wake(at);
                false
            }
            _ => true,
        }
    }
}

fn container_restarts(spec: &PodSpec, container: &Container) -> bool {
    let policy = container.restart_policy.as_deref().or(spec.restart_policy.as_deref());
    policy != Some("Never")
}
