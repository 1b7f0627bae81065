//! What several rooms ask of a Pod: is it ready, is it over, what does it need, which QoS class is it.
//!
//! Pure functions on the wire type. The scheduler, the kubelet, controllers and quotas call these, so that
//! all of them count the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerRestartRule, Pod, PodCondition, PodSpec, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::quantity::Quantity;

/// Amounts by resource name.
pub type Resources = BTreeMap<String, Quantity>;

/// The pod's phase; empty before the first status.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether all containers have ended for good: Succeeded or Failed.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether deletion has been asked for.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Neither over nor being deleted: what a ReplicaSet counts.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_terminating(pod)
}

pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Ready, and for at least `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    let Some(ready) = condition(pod, "Ready").filter(|condition| condition.status == "True") else { return false };
    if min_ready_seconds == 0 {
        return true;
    }
    let wait = SignedDuration::from_secs(min_ready_seconds.into());
    ready.last_transition_time.as_ref().is_some_and(|since| now.duration_since(since.0) >= wait)
}

/// An init container that keeps running beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The action of a restart rule that starts all of a pod's containers again.
pub const RESTART_ALL: &str = "RestartAllContainers";
/// What a node declares that can do so.
pub const RESTARTS_ALL: &str = "RestartAllContainersOnContainerExits";

/// The first of a container's rules that is about such an end.
pub fn restart_rule(container: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            listed == (codes.operator == "In")
        })
    })
}

/// Whether some container's end may start all of them again.
pub fn restarts_all(spec: &PodSpec) -> bool {
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.any(|container| container.restart_policy_rules.iter().flatten().any(|rule| rule.action == RESTART_ALL))
}

/// Every port with a host port, of containers and sidecars.
pub fn host_ports(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter(|port| port.host_port.is_some_and(|port| port > 0))
}

/// What the pod asks of its node: the larger of what its containers need together and what any init
/// container needs (beside the sidecars started before it), unless the pod itself says; plus overhead.
pub fn requests(spec: &PodSpec) -> Resources {
    let mut total = container_requests(spec);
    override_with_pod_level(&mut total, Half::Requests.of(spec.resources.as_ref()));
    add(&mut total, &overhead(spec));
    total
}

/// The most the pod may use. Overhead is added only to what is limited at all.
pub fn limits(spec: &PodSpec) -> Resources {
    let mut total = container_limits(spec);
    override_with_pod_level(&mut total, Half::Limits.of(spec.resources.as_ref()));
    add_to_limits(&mut total, &overhead(spec));
    total
}

/// What the pod asks of its node or still has of it: while a container is resized, the most of what it wants, what
/// the node allocated and what it runs with. A resize that is infeasible wants nothing.
pub fn requests_held(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::new() };
    let mut total = aggregate(spec, |container| held_by(pod, container, Half::Requests));
    override_with_pod_level(&mut total, held_by_whole(pod, spec, Half::Requests));
    add(&mut total, &overhead(spec));
    total
}

/// The same of limits.
pub fn limits_held(pod: &Pod) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::new() };
    let mut total = aggregate(spec, |container| held_by(pod, container, Half::Limits));
    override_with_pod_level(&mut total, held_by_whole(pod, spec, Half::Limits));
    add_to_limits(&mut total, &overhead(spec));
    total
}

/// What containers request together, whatever the pod says as a whole.
pub fn container_requests(spec: &PodSpec) -> Resources {
    aggregate(spec, |container| Half::Requests.of(container.resources.as_ref()))
}

/// What containers are limited to together, whatever the pod says as a whole.
pub fn container_limits(spec: &PodSpec) -> Resources {
    aggregate(spec, |container| Half::Limits.of(container.resources.as_ref()))
}

type WireResources = BTreeMap<String, Wire>;

/// One half of what is said of resources.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Requests,
    Limits,
}

impl Half {
    fn of(self, resources: Option<&ResourceRequirements>) -> Resources {
        amounts(resources.and_then(|resources| match self {
            Self::Requests => resources.requests.as_ref(),
            Self::Limits => resources.limits.as_ref(),
        }))
    }
}

fn amounts(wire: Option<&WireResources>) -> Resources {
    wire.into_iter().flatten().map(|(name, amount)| (name.clone(), Quantity::of(amount))).collect()
}

fn overhead(spec: &PodSpec) -> Resources {
    amounts(spec.overhead.as_ref())
}

fn add_to_limits(limits: &mut Resources, overhead: &Resources) {
    for (name, amount) in overhead {
        if let Some(limit) = limits.get_mut(name).filter(|limit| !limit.is_zero()) {
            *limit += *amount;
        }
    }
}

/// The node will never give what the pod asks for.
fn is_infeasible(pod: &Pod) -> bool {
    condition(pod, "PodResizePending").is_some_and(|pending| pending.reason.as_deref() == Some("Infeasible"))
}

fn held_by(pod: &Pod, container: &Container, half: Half) -> Resources {
    let wanted = half.of(container.resources.as_ref());
    let Some(status) = &pod.status else { return wanted };
    let sidecars = status.init_container_statuses.iter().flatten().filter(|_| is_sidecar(container));
    let mut all = status.container_statuses.iter().flatten().chain(sidecars);
    let Some(status) = all.find(|status| status.name == container.name) else { return wanted };
    let Some(runs_with) = &status.resources else { return wanted };
    let mut held = if is_infeasible(pod) { Resources::new() } else { wanted };
    raise(&mut held, &half.of(Some(runs_with)));
    if half == Half::Requests {
        raise(&mut held, &amounts(status.allocated_resources.as_ref()));
    }
    held
}

/// The same for what is said of the pod as a whole; its status counts the overhead, too.
fn held_by_whole(pod: &Pod, spec: &PodSpec, half: Half) -> Resources {
    let wanted = half.of(spec.resources.as_ref());
    let status = pod.status.as_ref();
    let runs_with = status.and_then(|status| status.resources.as_ref());
    let allocated = status.and_then(|status| status.allocated_resources.as_ref()).filter(|_| half == Half::Requests);
    if wanted.is_empty() || (runs_with.is_none() && allocated.is_none()) {
        return wanted;
    }
    let without_overhead = |mut amounts: Resources| {
        for (name, amount) in overhead(spec) {
            if let Some(held) = amounts.get_mut(&name) {
                *held = (*held - amount).max(Quantity::ZERO);
            }
        }
        amounts
    };
    let mut held = if is_infeasible(pod) { Resources::new() } else { wanted };
    raise(&mut held, &without_overhead(half.of(runs_with)));
    raise(&mut held, &without_overhead(amounts(allocated)));
    held
}

fn aggregate(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut running = Resources::new();
    for container in &spec.containers {
        add(&mut running, &of(container));
    }
    let (mut sidecars, mut starting) = (Resources::new(), Resources::new());
    for container in spec.init_containers.iter().flatten() {
        let mut needed = of(container);
        if is_sidecar(container) {
            add(&mut running, &needed);
            add(&mut sidecars, &needed);
            needed = sidecars.clone();
        } else {
            add(&mut needed, &sidecars);
        }
        raise(&mut starting, &needed);
    }
    raise(&mut running, &starting);
    running
}

fn add(total: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(total: &mut Resources, floor: &Resources) {
    for (name, amount) in floor {
        let entry = total.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// What may be set for the whole pod (KEP-2837).
fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Whether the pod says as a whole what it needs.
pub fn has_pod_level(spec: &PodSpec) -> bool {
    let lists = spec.resources.iter().flat_map(|whole| [&whole.requests, &whole.limits]);
    lists.flatten().flat_map(|list| list.keys()).any(|name| is_pod_level(name))
}

/// That replaces the sum of the containers'.
fn override_with_pod_level(total: &mut Resources, pod_level: Resources) {
    total.extend(pod_level.into_iter().filter(|(name, _)| is_pod_level(name)));
}

/// The QoS class, from cpu and memory alone: Guaranteed where every container limits both and requests
/// exactly that, BestEffort where nothing is asked for, Burstable between.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    if let Some(pod_level) = spec.resources.as_ref().filter(|resources| sets_compute(resources)) {
        return class_of(std::iter::once(Some(pod_level)));
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    class_of(containers.map(|container| container.resources.as_ref()))
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

fn sets_compute(resources: &ResourceRequirements) -> bool {
    [&resources.requests, &resources.limits].into_iter().any(|map| positive(map.as_ref()).next().is_some())
}

fn positive(map: Option<&WireResources>) -> impl Iterator<Item = (&'static str, Quantity)> + '_ {
    let amount = move |name: &'static str| Some((name, Quantity::of(map?.get(name)?)));
    COMPUTE.into_iter().filter_map(amount).filter(|(_, amount)| *amount > Quantity::ZERO)
}

fn class_of<'a>(holders: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> &'static str {
    let (mut requests, mut limits, mut guaranteed) = (Resources::new(), Resources::new(), true);
    for holder in holders {
        for (name, amount) in positive(holder.and_then(|resources| resources.requests.as_ref())) {
            *requests.entry(name.to_owned()).or_default() += amount;
        }
        let mut limited = BTreeSet::new();
        for (name, amount) in positive(holder.and_then(|resources| resources.limits.as_ref())) {
            limited.insert(name);
            *limits.entry(name.to_owned()).or_default() += amount;
        }
        guaranteed &= limited.len() == COMPUTE.len();
    }
    match () {
        () if requests.is_empty() && limits.is_empty() => "BestEffort",
        () if guaranteed && requests == limits => "Guaranteed",
        () => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    fn shown(resources: &Resources) -> Vec<String> {
        resources.iter().map(|(name, amount)| format!("{name}={amount}")).collect()
    }

    #[test]
    fn requests_follow_the_largest_phase() {
        let cpu = |name: &str, amount: &str| json!({"name": name, "resources": {"requests": {"cpu": amount}}});
        let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}});
        let cases = [
            (json!({"containers": [cpu("a", "1"), cpu("b", "500m")]}), "cpu=1500m"),
            (json!({"containers": [cpu("a", "1")], "initContainers": [cpu("i", "3")]}), "cpu=3"),
            (json!({"containers": [cpu("a", "1")], "initContainers": [sidecar, cpu("i", "3")]}), "cpu=3100m"),
            (json!({"containers": [cpu("a", "1")], "initContainers": [cpu("i", "1"), sidecar]}), "cpu=1100m"),
            (json!({"containers": [cpu("a", "1")], "overhead": {"cpu": "50m"}}), "cpu=1050m"),
            (json!({"containers": [cpu("a", "1")], "resources": {"requests": {"cpu": "4"}}}), "cpu=4"),
        ];
        for (value, wanted) in cases {
            assert_eq!(shown(&requests(&spec(value.clone()))), [wanted], "{value}");
        }
    }

    #[test]
    fn what_is_being_resized_counts_as_the_most_of_what_it_is() {
        let of = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
        let status = |runs_with: &str, allocated: &str| json!({"name": "a", "resources": of(runs_with), "allocatedResources": {"cpu": allocated}});
        let held = |spec: Value, status: Value| {
            let pod = serde_json::from_value(json!({"spec": spec, "status": status})).unwrap();
            (shown(&requests_held(&pod)).join(","), shown(&limits_held(&pod)).join(","))
        };
        let one = json!({"containers": [{"name": "a", "resources": of("2")}]});
        let infeasible = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        for (status, requests, limits) in [
            (json!({}), "cpu=2", "cpu=2"),
            (json!({"containerStatuses": [{"name": "a"}]}), "cpu=2", "cpu=2"),
            (json!({"containerStatuses": [status("1", "1")]}), "cpu=2", "cpu=2"),
            (json!({"containerStatuses": [status("3", "1")]}), "cpu=3", "cpu=3"),
            (json!({"containerStatuses": [status("3", "4")]}), "cpu=4", "cpu=3"),
            (json!({"containerStatuses": [status("1", "1")], "conditions": infeasible}), "cpu=1", "cpu=1"),
        ] {
            assert_eq!(held(one.clone(), status.clone()), (requests.into(), limits.into()), "{status}");
        }
        let whole = json!({"containers": [{"name": "a"}], "resources": of("2"), "overhead": {"cpu": "100m"}});
        let status = json!({"resources": of("3100m"), "allocatedResources": {"cpu": "4100m"}});
        assert_eq!(held(whole, status), ("cpu=4100m".to_owned(), "cpu=3100m".to_owned()));
    }

    #[test]
    fn qos_classes() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "0"}}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": both, "requests": both}), "Guaranteed"),
            (json!({"limits": both, "requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"example.com/gpu": "1"}}), "BestEffort"),
        ];
        for (resources, class) in cases {
            let value = json!({"containers": [{"name": "a", "resources": resources}]});
            assert_eq!(qos_class(&spec(value.clone())), class, "{value}");
        }
    }

    #[test]
    fn readiness_and_availability() {
        let at = "2026-01-01T00:00:00Z";
        let conditions = json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
        let pod: Pod = serde_json::from_value(json!({"status": {"conditions": conditions}})).unwrap();
        let now: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        assert!(is_ready(&pod) && is_active(&pod));
        assert!(is_available(&pod, 0, now) && is_available(&pod, 10, now) && !is_available(&pod, 11, now));
        assert!(!is_ready(&Pod::default()));
    }
}
