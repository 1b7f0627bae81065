//! Pods as `kubectl get pods` shows them: readiness, one word of status, restarts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::api::pod::{condition, is_ready, is_sidecar, is_terminal, is_terminating};
use crate::server::kinds::cell::{self, NONE};
use crate::server::strategy::Column;

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::string("Ready", "The aggregate readiness state of this pod for accepting traffic."),
    Column::string("Status", "The aggregate status of the containers in this pod."),
    Column::string(
        "Restarts",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    Column::AGE,
    Column::string("IP", "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.").wide(),
    Column::string("Node", "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename").wide(),
    Column::string("Nominated Node", "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods. This field does not guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher priority pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod is scheduled.").wide(),
    Column::string("Readiness Gates", "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates").wide(),
];

pub fn cells(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let status = pod.status.as_ref();
    let restarts = match (summary.restarts, &summary.last_restart) {
        (0, _) | (_, None) => summary.restarts.to_string(),
        (count, last) => format!("{count} ({} ago)", cell::since(last.as_ref(), now)),
    };
    let spec = pod.spec.as_ref();
    vec![
        cell::name(&pod.metadata),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        cell::age(&pod.metadata, now),
        cell::or(status.and_then(address), NONE).into(),
        cell::or(spec.and_then(|spec| spec.node_name.as_deref()), NONE).into(),
        cell::or(status.and_then(|status| status.nominated_node_name.as_deref()), NONE).into(),
        readiness_gates(pod).into(),
    ]
}

fn address(status: &PodStatus) -> Option<&str> {
    let first = status.pod_ips.iter().flatten().next().map(|address| address.ip.as_str());
    first.or(status.pod_ip.as_deref())
}

fn readiness_gates(pod: &Pod) -> String {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let (mut total, mut met) = (0, 0);
    for gate in gates {
        total += 1;
        met += usize::from(condition(pod, &gate.condition_type).is_some_and(|found| found.status == "True"));
    }
    if total == 0 { NONE.to_owned() } else { format!("{met}/{total}") }
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i32,
    last_restart: Option<Time>,
}

/// Restarts counted, with the end of the run before the latest one.
#[derive(Clone, Default)]
struct Restarts {
    count: i32,
    last: Option<Time>,
}

impl Restarts {
    fn add(&mut self, status: &ContainerStatus) {
        self.count += status.restart_count;
        let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()?.finished_at.clone());
        if let Some(ended) = ended {
            let newer = self.last.as_ref().is_none_or(|last| last.0 < ended.0);
            if newer {
                self.last = Some(ended);
            }
        }
    }
}

impl Summary {
    fn of(pod: &Pod) -> Self {
        let empty = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&empty);
        let mut reason = cell::or(status.reason.as_deref(), status.phase.as_deref().unwrap_or_default()).to_owned();
        let gated =
            condition(pod, "PodScheduled").is_some_and(|found| found.reason.as_deref() == Some("SchedulingGated"));
        if gated {
            reason = "SchedulingGated".to_owned();
        }
        let mut init = Init::of(pod, status);
        let mut restarts = init.restarts.clone();
        if let Some(shown) = init.reason.take() {
            reason = shown;
        }
        let initialized = condition(pod, "Initialized").is_some_and(|found| found.status == "True");
        if !init.initializing || initialized {
            restarts = init.sidecar_restarts;
            if let Some(shown) = containers(pod, status, &mut init.ready, &mut restarts, &reason) {
                reason = shown;
            }
        }
        if is_terminating(pod) && status.reason.as_deref() == Some("NodeLost") {
            reason = "Unknown".to_owned();
        } else if is_terminating(pod) && !is_terminal(pod) {
            reason = "Terminating".to_owned();
        }
        Self { ready: init.ready, total: init.total, reason, restarts: restarts.count, last_restart: restarts.last }
    }
}

/// What the init containers tell.
struct Init {
    total: usize,
    ready: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
    initializing: bool,
    reason: Option<String>,
}

impl Init {
    fn of(pod: &Pod, status: &PodStatus) -> Self {
        let spec = pod.spec.as_ref();
        let containers = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let sidecars = containers.iter().filter(|container| is_sidecar(container)).count();
        let mut found = Self {
            total: spec.map_or(0, |spec| spec.containers.len()) + sidecars,
            ready: 0,
            restarts: Restarts::default(),
            sidecar_restarts: Restarts::default(),
            initializing: false,
            reason: None,
        };
        for (at, init) in status.init_container_statuses.iter().flatten().enumerate() {
            found.restarts.add(init);
            let sidecar = containers.iter().any(|container| container.name == init.name && is_sidecar(container));
            if sidecar {
                found.sidecar_restarts.add(init);
            }
            let state = init.state.clone().unwrap_or_default();
            if state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0) {
                continue;
            }
            if sidecar && init.started == Some(true) {
                found.ready += usize::from(init.ready);
                continue;
            }
            found.initializing = true;
            found.reason = Some(initializing(&state, at, containers.len()));
            break;
        }
        found
    }
}

fn initializing(state: &ContainerState, at: usize, of: usize) -> String {
    if state.terminated.is_some() {
        return format!("Init:{}", ended(state));
    }
    let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
    match waiting.filter(|reason| !reason.is_empty() && *reason != "PodInitializing") {
        Some(reason) => format!("Init:{reason}"),
        None => format!("Init:{at}/{of}"),
    }
}

/// Why a container ended.
fn ended(state: &ContainerState) -> String {
    let Some(ended) = &state.terminated else { return String::new() };
    match (ended.reason.as_deref().filter(|reason| !reason.is_empty()), ended.signal.unwrap_or(0)) {
        (Some(reason), _) => reason.to_owned(),
        (None, 0) => format!("ExitCode:{}", ended.exit_code),
        (None, signal) => format!("Signal:{signal}"),
    }
}

/// What the containers tell; the first one that has something to say has the last word.
fn containers(
    pod: &Pod,
    status: &PodStatus,
    ready: &mut usize,
    restarts: &mut Restarts,
    before: &str,
) -> Option<String> {
    let mut reason = None;
    let mut running = false;
    for container in status.container_statuses.iter().flatten().rev() {
        restarts.add(container);
        let Some(state) = &container.state else { continue };
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        if let Some(waiting) = waiting.filter(|reason| !reason.is_empty()) {
            reason = Some(waiting.to_owned());
        } else if state.terminated.is_some() {
            reason = Some(ended(state));
        } else if container.ready && state.running.is_some() {
            running = true;
            *ready += 1;
        }
    }
    if running && reason.as_deref().unwrap_or(before) == "Completed" {
        reason = Some(if is_ready(pod) { "Running" } else { "NotReady" }.to_owned());
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// READY, STATUS and RESTARTS of a pod with containers `a` and `b` in the given status.
    fn shown(meta: Value, init: Value, status: Value) -> (String, String, String) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status,
            "spec": {"initContainers": init, "containers": [{"name": "a"}, {"name": "b"}]}
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let cells = cells(&pod, "2026-01-01T00:10:00Z".parse().unwrap());
        let cell = |at: usize| cells[at].as_str().unwrap().to_owned();
        (cell(1), cell(2), cell(3))
    }

    fn container(state: Value, ready: bool, restarts: i32) -> Value {
        json!({"name": "a", "image": "", "imageID": "", "ready": ready, "restartCount": restarts, "state": state,
            "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:05:00Z"}}})
    }

    #[test]
    fn one_word_says_how_a_pod_is() {
        let running = || json!({"running": {}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let ended = |code: i32, reason: &str| json!({"terminated": {"exitCode": code, "reason": reason}});
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let cases = [
            (json!({}), json!({"phase": "Pending"}), ("0/2", "Pending", "0")),
            (
                json!({}),
                json!({"phase": "Running", "containerStatuses": [container(running(), true, 0), container(running(), true, 2)]}),
                ("2/2", "Running", "2 (5m ago)"),
            ),
            (
                json!({}),
                json!({"phase": "Running", "containerStatuses": [container(waiting("CrashLoopBackOff"), false, 4), container(running(), true, 0)]}),
                ("1/2", "CrashLoopBackOff", "4 (5m ago)"),
            ),
            (
                json!({}),
                json!({"phase": "Running", "conditions": ready, "containerStatuses": [container(ended(0, "Completed"), false, 0), container(running(), true, 0)]}),
                ("1/2", "Running", "0"),
            ),
            (
                json!({}),
                json!({"phase": "Failed", "containerStatuses": [container(ended(3, ""), false, 0)]}),
                ("0/2", "ExitCode:3", "0"),
            ),
            (json!({}), json!({"phase": "Failed", "reason": "Evicted"}), ("0/2", "Evicted", "0")),
            (deleted.clone(), json!({"phase": "Running"}), ("0/2", "Terminating", "0")),
            (deleted.clone(), json!({"phase": "Succeeded"}), ("0/2", "Succeeded", "0")),
            (deleted, json!({"phase": "Running", "reason": "NodeLost"}), ("0/2", "Unknown", "0")),
            (
                json!({}),
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
                ("0/2", "SchedulingGated", "0"),
            ),
        ];
        for (meta, status, expected) in cases {
            let (ready, word, restarts) = shown(meta, json!([]), status.clone());
            assert_eq!((ready.as_str(), word.as_str(), restarts.as_str()), expected, "{status}");
        }
    }

    #[test]
    fn init_containers_come_first() {
        let init = json!([{"name": "a"}, {"name": "s", "restartPolicy": "Always"}]);
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        let cases = [
            (json!([container(json!({"running": {}}), false, 0)]), "0/3", "Init:0/2"),
            (json!([container(waiting("ImagePullBackOff"), false, 0)]), "0/3", "Init:ImagePullBackOff"),
            (json!([container(waiting("PodInitializing"), false, 0)]), "0/3", "Init:0/2"),
            (json!([container(json!({"terminated": {"exitCode": 1}}), false, 0)]), "0/3", "Init:ExitCode:1"),
        ];
        for (statuses, ready, word) in cases {
            let status = json!({"phase": "Pending", "initContainerStatuses": statuses});
            let (got_ready, got_word, _) = shown(json!({}), init.clone(), status);
            assert_eq!((got_ready.as_str(), got_word.as_str()), (ready, word));
        }
        // A started sidecar counts among the ready containers.
        let sidecar = json!({"name": "s", "image": "", "imageID": "", "ready": true, "started": true, "restartCount": 0, "state": {"running": {}}});
        let status = json!({"phase": "Running", "initContainerStatuses": [container(json!({"terminated": {"exitCode": 0}}), false, 0), sidecar],
            "containerStatuses": [container(json!({"running": {}}), true, 0)]});
        let (ready, word, _) = shown(json!({}), init, status);
        assert_eq!((ready.as_str(), word.as_str()), ("2/3", "Running"));
    }
}
