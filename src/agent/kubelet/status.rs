//! The PodStatus that follows from what was observed: phase, conditions and container statuses with
//! upstream's reasons and messages. Pure; the worker calls it and `status_writer` sends the result.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::model::{self, Instance, Observed, Role, Waiting, common, containers};
use super::plan;
use super::qos;
use super::resize::{self, Verdict};
use crate::api::pod::restarts_all;

/// The node's address, as pods on the host's network and `hostIP` show it.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts {
    pub ip: IpAddr,
}

/// The whole status of `pod` at `now`. Transition times are kept from `old`, the last status that was
/// generated, where a condition did not change; conditions of other writers are left to them.
pub fn generate(pod: &Pod, old: &PodStatus, seen: &Observed, node: NodeFacts, now: Timestamp) -> PodStatus {
    let Some(spec) = pod.spec.as_ref() else { return PodStatus::default() };
    let failure = seen.ending.as_ref().and_then(|ending| ending.failure.clone());
    let phase = match &failure {
        Some(_) => "Failed",
        None => final_or(old.phase.as_deref(), phase(spec, seen)),
    };
    let generation = pod.metadata.generation;
    let mut status = PodStatus {
        observed_generation: generation,
        phase: Some(phase.to_owned()),
        reason: failure.as_ref().map(|why| why.reason.to_owned()).or(old.reason.clone()),
        message: failure.map(|why| why.message).or(old.message.clone()),
        qos_class: old.qos_class.clone().or_else(|| Some(qos::class(spec).to_owned())),
        start_time: old.start_time.clone().or_else(|| seen.start_time.map(Time)),
        host_ip: Some(node.ip.to_string()),
        host_ips: Some(vec![HostIP { ip: node.ip.to_string() }]),
        container_statuses: Some(statuses(spec, Role::Main, &spec.containers, seen)),
        init_container_statuses: spec.init_containers.as_ref().map(|list| statuses(spec, Role::Init, list, seen)),
        ephemeral_container_statuses: spec.ephemeral_containers.as_ref().map(|list| {
            let list: Vec<_> = list.iter().map(common).collect();
            statuses(spec, Role::Ephemeral, &list, seen)
        }),
        ..PodStatus::default()
    };
    set_pod_ip(&mut status, spec, seen, node, old);
    let wanted = conditions(pod, spec, seen, phase, &status);
    status.conditions = Some(with_times(wanted, old, generation, now));
    status
}

/// Succeeded and Failed are for ever.
fn final_or<'a>(old: Option<&'a str>, new: &'a str) -> &'a str {
    match old {
        Some(last @ ("Succeeded" | "Failed")) => last,
        _ => new,
    }
}

fn set_pod_ip(status: &mut PodStatus, spec: &PodSpec, seen: &Observed, node: NodeFacts, old: &PodStatus) {
    let ip = match &seen.sandbox {
        Some(_) if spec.host_network == Some(true) => Some(node.ip.to_string()),
        Some(sandbox) => sandbox.ip.map(|ip| ip.to_string()),
        // The address is gone, but a finished pod still shows what it had.
        None => old.pod_ip.clone(),
    };
    status.pod_ips = ip.clone().map(|ip| vec![PodIP { ip }]);
    status.pod_ip = ip;
}

fn statuses(spec: &PodSpec, role: Role, list: &[Container], seen: &Observed) -> Vec<ContainerStatus> {
    list.iter().map(|container| container_status(spec, role, container, seen)).collect()
}

fn container_status(spec: &PodSpec, role: Role, container: &Container, seen: &Observed) -> ContainerStatus {
    let fallback = model::ContainerState::default();
    let state = seen.container(&container.name).unwrap_or(&fallback);
    let run = state.current.as_ref();
    let role = if role == Role::Init { model::init_role(container) } else { role };
    let running = state.is_running();
    let ready = match role {
        Role::Init => seen.run(&container.name).is_some_and(Instance::succeeded),
        Role::Ephemeral => false,
        _ => running && state.ready && state.started,
    };
    let (now, last) = states(spec, role, state, seen.anew);
    let spec_resources = container.resources.as_ref();
    // Allocated is what the node has agreed to, whether the container has it already or not.
    let pending = seen.resize.verdict != Verdict::Fits;
    let resources = match &state.applied {
        Some(applied) => applied.show(spec_resources),
        None => spec_resources.cloned(),
    };
    let allocated = if pending { resources.as_ref() } else { spec_resources };
    let requests = allocated.and_then(|r| r.requests.clone());
    ContainerStatus {
        name: container.name.clone(),
        state: Some(now),
        last_state: Some(last.unwrap_or_default()),
        ready,
        started: Some(running && state.started),
        restart_count: run.map_or(0, |run| i32::try_from(run.attempt).unwrap_or(i32::MAX)),
        image: run.map_or_else(|| container.image.clone().unwrap_or_default(), |run| run.image.clone()),
        image_id: run.map(|run| run.image_id.clone()).unwrap_or_default(),
        container_id: run.map(|run| container_uri(&run.id)),
        allocated_resources: requests.filter(|requests| !requests.is_empty() && running),
        resources: resources.filter(|_| running),
        volume_mounts: container.volume_mounts.as_ref().map(|mounts| mounts.iter().map(mount_status).collect()),
        ..ContainerStatus::default()
    }
}

fn mount_status(mount: &k8s_openapi::api::core::v1::VolumeMount) -> VolumeMountStatus {
    let read_only = mount.read_only.filter(|read_only| *read_only);
    VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only,
        recursive_read_only: read_only.map(|_| "Disabled".to_owned()),
        ..VolumeMountStatus::default()
    }
}

pub fn container_uri(id: &str) -> String {
    format!("containerd://{id}")
}

/// A container's state and last state.
fn states(
    spec: &PodSpec,
    role: Role,
    state: &model::ContainerState,
    anew: u32,
) -> (ContainerState, Option<ContainerState>) {
    let previous = state.previous.as_ref().filter(|run| run.finished.is_some()).map(terminated);
    let Some(run) = &state.current else {
        let why = state.waiting.clone().unwrap_or_else(|| not_created(spec, role));
        return (waiting(why), previous);
    };
    if run.is_running() {
        let running = ContainerStateRunning { started_at: run.started_at.map(Time) };
        return (ContainerState { running: Some(running), ..ContainerState::default() }, previous);
    }
    match (&state.waiting, &run.finished) {
        (why, Some(_)) if run.epoch < anew && role != Role::Ephemeral => {
            (waiting(why.clone().unwrap_or_else(|| not_created(spec, role))), Some(terminated(run)))
        }
        (Some(why), Some(_)) => (waiting(why.clone()), Some(terminated(run))),
        (None, Some(_)) => (terminated(run), previous),
        (why, None) => (waiting(why.clone().unwrap_or_else(|| not_created(spec, role))), previous),
    }
}

fn not_created(spec: &PodSpec, role: Role) -> Waiting {
    let has_init = spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
    let reason = if has_init && role != Role::Ephemeral { "PodInitializing" } else { "ContainerCreating" };
    Waiting { reason, message: String::new() }
}

fn waiting(why: Waiting) -> ContainerState {
    let message = Some(why.message).filter(|message| !message.is_empty());
    let waiting = ContainerStateWaiting { reason: Some(why.reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(run: &Instance) -> ContainerState {
    let end = run.finished.as_ref();
    let terminated = ContainerStateTerminated {
        exit_code: end.map_or(0, |end| end.exit_code),
        reason: end.map(|end| end.reason.clone()),
        message: end.and_then(|end| end.message.clone()),
        started_at: run.started_at.map(Time),
        finished_at: end.map(|end| Time(end.at)),
        container_id: Some(container_uri(&run.id)),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// The phase, by upstream's counting.
pub fn phase(spec: &PodSpec, seen: &Observed) -> &'static str {
    let never = spec.restart_policy.as_deref() == Some("Never");
    for (role, container) in containers(spec).filter(|(role, _)| *role != Role::Main) {
        let run = seen.run(&container.name);
        if role == Role::Init && run.is_some_and(|run| run.finished.is_some() && !run.succeeded()) && never {
            return "Failed";
        }
    }
    let initializing = containers(spec).any(|(role, container)| match role {
        Role::Init => !seen.run(&container.name).is_some_and(Instance::succeeded) && !main_begun(spec, seen),
        Role::Sidecar => seen.run(&container.name).is_none(),
        _ => false,
    });
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for container in &spec.containers {
        let again = |run: &Instance| plan::restarts(spec, Role::Main, container, run);
        match seen.run(&container.name) {
            Some(run) if run.is_running() => running += 1,
            Some(run) if run.finished.is_some() => {
                stopped += 1;
                succeeded += usize::from(run.succeeded() && !again(run));
            }
            _ => waiting += 1,
        }
    }
    let restarting = !plan::is_complete(spec, seen);
    if seen.ending.is_some() && seen.is_quiet() {
        let all = |container: &Container| seen.run(&container.name).is_some_and(Instance::succeeded);
        return if spec.containers.iter().all(all) { "Succeeded" } else { "Failed" };
    }
    match () {
        () if initializing || waiting > 0 => "Pending",
        () if running > 0 || restarting => "Running",
        () if stopped == succeeded => "Succeeded",
        () => "Failed",
    }
}

fn main_begun(spec: &PodSpec, seen: &Observed) -> bool {
    spec.containers
        .iter()
        .any(|container| seen.container(&container.name).is_some_and(|state| state.in_epoch(seen.epoch).is_some()))
}

struct Wanted {
    kind: &'static str,
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Wanted {
    fn yes(kind: &'static str) -> Self {
        Self { kind, status: true, reason: None, message: None }
    }

    fn no(kind: &'static str, reason: &'static str, message: Option<String>) -> Self {
        Self { kind, status: false, reason: Some(reason), message }
    }
}

fn conditions(pod: &Pod, spec: &PodSpec, seen: &Observed, phase: &str, status: &PodStatus) -> Vec<Wanted> {
    let initialized = initialized(spec, seen, phase);
    let containers_ready = containers_ready(spec, status, phase);
    let ready = ready(pod, spec, &containers_ready);
    let sandbox =
        Wanted { kind: "PodReadyToStartContainers", status: seen.sandbox.is_some(), reason: None, message: None };
    let mut all = vec![sandbox, initialized, ready, containers_ready, Wanted::yes("PodScheduled")];
    all.extend(restarts_all(spec).then(|| restarting_all(spec, seen, phase)));
    all.extend(resizing(spec, seen));
    all
}

/// From the end that triggers it until nothing runs any more.
fn restarting_all(spec: &PodSpec, seen: &Observed, phase: &str) -> Wanted {
    const KIND: &str = "AllContainersRestarting";
    match phase {
        "Succeeded" => Wanted::no(KIND, "PodCompleted", None),
        "Failed" => Wanted::no(KIND, "PodFailed", None),
        _ if plan::trigger(spec, seen).is_some() => Wanted {
            reason: Some("RestartAllContainersStarted"),
            message: Some("container exited with restart policy rule".to_owned()),
            ..Wanted::yes(KIND)
        },
        _ => Wanted { status: false, ..Wanted::yes(KIND) },
    }
}

/// Present only while a resize waits or is being made.
fn resizing(spec: &PodSpec, seen: &Observed) -> Option<Wanted> {
    let pending = |reason, message: &String| Wanted {
        reason: Some(reason),
        message: Some(message.clone()),
        ..Wanted::yes("PodResizePending")
    };
    match &seen.resize.verdict {
        Verdict::Deferred(message) => return Some(pending("Deferred", message)),
        Verdict::Infeasible(message) => return Some(pending("Infeasible", message)),
        Verdict::Fits => {}
    }
    let progress = Wanted::yes("PodResizeInProgress");
    match &seen.resize.failed {
        Some((why, _)) => Some(Wanted { reason: Some("Error"), message: Some(why.clone()), ..progress }),
        None => resize::is_wanted(spec, seen).then_some(progress),
    }
}

fn initialized(spec: &PodSpec, seen: &Observed, phase: &str) -> Wanted {
    if phase == "Succeeded" {
        return Wanted { reason: Some("PodCompleted"), ..Wanted::yes("Initialized") };
    }
    // Once is enough: it stays so while all containers are started again.
    let before = || {
        spec.containers
            .iter()
            .any(|container| seen.containers.get(&container.name).is_some_and(|state| state.current.is_some()))
    };
    if main_begun(spec, seen) || seen.anew > 0 && before() {
        return Wanted::yes("Initialized");
    }
    let incomplete = containers(spec).filter(|(role, container)| {
        let state = seen.container(&container.name);
        let run = state.and_then(|state| state.current.as_ref());
        match role {
            Role::Init => !run.is_some_and(|run| run.succeeded() && run.epoch == seen.epoch),
            Role::Sidecar => !state.is_some_and(|state| state.is_running() && state.started),
            _ => false,
        }
    });
    let names: Vec<_> = incomplete.map(|(_, container)| container.name.as_str()).collect();
    if names.is_empty() {
        return Wanted::yes("Initialized");
    }
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    Wanted::no("Initialized", "ContainersNotInitialized", Some(message))
}

fn containers_ready(spec: &PodSpec, status: &PodStatus, phase: &str) -> Wanted {
    match phase {
        "Succeeded" => return Wanted::no("ContainersReady", "PodCompleted", None),
        "Failed" => return Wanted::no("ContainersReady", "PodFailed", None),
        _ => {}
    }
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let counts = |name: &str| {
        containers(spec).any(|(role, container)| container.name == name && matches!(role, Role::Main | Role::Sidecar))
    };
    let unready: Vec<_> =
        all.filter(|status| !status.ready && counts(&status.name)).map(|status| status.name.as_str()).collect();
    if unready.is_empty() {
        return Wanted::yes("ContainersReady");
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Wanted::no("ContainersReady", "ContainersNotReady", Some(message))
}

fn ready(pod: &Pod, spec: &PodSpec, containers_ready: &Wanted) -> Wanted {
    if !containers_ready.status {
        return Wanted {
            kind: "Ready",
            status: false,
            reason: containers_ready.reason,
            message: containers_ready.message.clone(),
        };
    }
    let given = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let gates = spec.readiness_gates.iter().flatten();
    let closed: Vec<_> = gates
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match given.clone().find(|condition| condition.type_ == *kind) {
                Some(condition) if condition.status == "True" => None,
                Some(_) => Some(format!("the status of pod readiness gate \"{kind}\" is not \"True\", but False")),
                None => Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist.")),
            }
        })
        .collect();
    if closed.is_empty() {
        return Wanted::yes("Ready");
    }
    Wanted::no("Ready", "ReadinessGatesNotReady", Some(closed.join(", ")))
}

fn with_times(wanted: Vec<Wanted>, old: &PodStatus, generation: Option<i64>, now: Timestamp) -> Vec<PodCondition> {
    let old = old.conditions.as_deref().unwrap_or_default();
    let stamp = |wanted: Wanted| {
        let status = if wanted.status { "True" } else { "False" };
        let before = old.iter().find(|condition| condition.type_ == wanted.kind && condition.status == status);
        let since = before.and_then(|condition| condition.last_transition_time.clone()).unwrap_or(Time(now));
        PodCondition {
            type_: wanted.kind.to_owned(),
            status: status.to_owned(),
            reason: wanted.reason.map(str::to_owned),
            message: wanted.message,
            last_transition_time: Some(since),
            observed_generation: generation,
            last_probe_time: None,
        }
    };
    wanted.into_iter().map(stamp).collect()
}
