//! What several rooms ask of a Pod: is it ready, is it over, what does it need, which QoS class is it.
//!
//! Pure functions on the wire type. The scheduler, the kubelet, controllers and quotas call these, so that
//! all of them count the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod, PodCondition, PodSpec, ResourceRequirements};
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

/// Every port with a host port, of containers and sidecars.
pub fn host_ports(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter(|port| port.host_port.is_some_and(|port| port > 0))
}

/// What the pod asks of its node: the larger of what its containers need together and what any init
/// container needs (beside the sidecars started before it), unless the pod itself says; plus overhead.
pub fn requests(spec: &PodSpec) -> Resources {
    let mut total = aggregate(spec, |resources| resources.requests.as_ref());
    override_with_pod_level(&mut total, spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    for (name, amount) in spec.overhead.iter().flatten() {
        *total.entry(name.clone()).or_default() += Quantity::of(amount);
    }
    total
}

/// The most the pod may use. Overhead is added only to what is limited at all.
pub fn limits(spec: &PodSpec) -> Resources {
    let mut total = aggregate(spec, |resources| resources.limits.as_ref());
    override_with_pod_level(&mut total, spec.resources.as_ref().and_then(|resources| resources.limits.as_ref()));
    for (name, amount) in spec.overhead.iter().flatten() {
        if let Some(limit) = total.get_mut(name).filter(|limit| !limit.is_zero()) {
            *limit += Quantity::of(amount);
        }
    }
    total
}

/// What containers request together, whatever the pod says as a whole.
pub fn container_requests(spec: &PodSpec) -> Resources {
    aggregate(spec, |resources| resources.requests.as_ref())
}

/// What containers are limited to together, whatever the pod says as a whole.
pub fn container_limits(spec: &PodSpec) -> Resources {
    aggregate(spec, |resources| resources.limits.as_ref())
}

type WireResources = BTreeMap<String, Wire>;

fn aggregate(spec: &PodSpec, pick: fn(&ResourceRequirements) -> Option<&WireResources>) -> Resources {
    let of = |container: &Container| -> Resources {
        let found = container.resources.as_ref().and_then(pick);
        found.into_iter().flatten().map(|(name, amount)| (name.clone(), Quantity::of(amount))).collect()
    };
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

/// Resources that may be set for the whole pod (KEP-2837) replace the sum of the containers'.
fn override_with_pod_level(total: &mut Resources, pod_level: Option<&WireResources>) {
    let may = |name: &str| matches!(name, "cpu" | "memory") || name.starts_with("hugepages-");
    for (name, amount) in pod_level.into_iter().flatten().filter(|(name, _)| may(name)) {
        total.insert(name.clone(), Quantity::of(amount));
    }
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
