//! The quality-of-service class of a pod and what follows from it: cgroup parent, OOM score, and the
//! cgroup values of a container. Pure arithmetic; `container` and `cgroup` use it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::agent::runtime::Resources;
use crate::api::quantity;

use super::model::containers;

type List = BTreeMap<String, Quantity>;

fn milli(list: Option<&List>, name: &str) -> Option<i64> {
    let quantity: quantity::Quantity = list?.get(name)?.0.parse().ok()?;
    Some(quantity.milli())
}

fn units(list: Option<&List>, name: &str) -> Option<i64> {
    let quantity: quantity::Quantity = list?.get(name)?.0.parse().ok()?;
    Some(quantity.value())
}

pub fn cpu_limit(resources: Option<&ResourceRequirements>) -> Option<i64> {
    milli(resources.and_then(|r| r.limits.as_ref()), "cpu").filter(|milli| *milli > 0)
}

/// Millicores; an absent request is the limit, as defaulting would have it.
pub fn cpu_request(resources: Option<&ResourceRequirements>) -> Option<i64> {
    milli(resources.and_then(|r| r.requests.as_ref()), "cpu").or_else(|| cpu_limit(resources))
}

pub fn memory_limit(resources: Option<&ResourceRequirements>) -> Option<i64> {
    units(resources.and_then(|r| r.limits.as_ref()), "memory").filter(|bytes| *bytes > 0)
}

pub fn memory_request(resources: Option<&ResourceRequirements>) -> Option<i64> {
    units(resources.and_then(|r| r.requests.as_ref()), "memory").or_else(|| memory_limit(resources))
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn class(spec: &PodSpec) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let pod_level = spec.resources.as_ref().filter(|r| r.requests.is_some() || r.limits.is_some());
    let each = containers(spec).map(|(_, container)| container.resources.as_ref());
    let considered: Vec<_> = if pod_level.is_some() { vec![pod_level] } else { each.collect() };
    for resources in considered {
        let (cpu, memory) = (cpu_limit(resources), memory_limit(resources));
        let (cpu_asked, memory_asked) = (cpu_request(resources), memory_request(resources));
        any |= cpu_asked.is_some_and(|value| value > 0) || memory_asked.is_some_and(|value| value > 0);
        guaranteed &= cpu.is_some() && memory.is_some() && cpu == cpu_asked && memory == memory_asked;
    }
    match (any, guaranteed) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        _ => "BestEffort",
    }
}

/// The pod's cgroup below the root: Guaranteed pods sit directly in it.
pub fn cgroup_parent(spec: &PodSpec, uid: &str) -> String {
    match class(spec) {
        "Guaranteed" => format!("pod{uid}"),
        "Burstable" => format!("burstable/pod{uid}"),
        _ => format!("besteffort/pod{uid}"),
    }
}

/// Upstream's OOM policy: the more memory is requested, the later it dies.
pub fn oom_score_adj(spec: &PodSpec, container: &Container, node_memory: i64) -> i32 {
    match class(spec) {
        _ if spec.priority.is_some_and(|priority| priority >= 2_000_001_000) => -997,
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let request = memory_request(container.resources.as_ref()).unwrap_or(0);
            let score = 1000 - (1000_i128 * i128::from(request) / i128::from(node_memory.max(1))) as i64;
            score.clamp(3, 999) as i32
        }
    }
}

/// 1024 shares per core, 2 at least, as the kernel wants it.
pub fn shares(milli: i64) -> u64 {
    if milli <= 0 {
        return 2;
    }
    u64::try_from(milli * 1024 / 1000).unwrap_or(2).clamp(2, 262_144)
}

const PERIOD: i64 = 100_000;

/// Microseconds per 100 ms period; the kernel refuses less than 1 ms.
pub fn quota(milli: i64) -> i64 {
    (milli * PERIOD / 1000).max(1000)
}

/// The limits of one container's own cgroup.
pub fn container_resources(container: &Container, pids_limit: Option<i64>) -> Resources {
    let resources = container.resources.as_ref();
    let limit = cpu_limit(resources);
    Resources {
        cpu_shares: Some(shares(cpu_request(resources).unwrap_or(0))),
        cpu_quota: limit.map(quota),
        cpu_period: limit.map(|_| PERIOD as u64),
        memory_limit: memory_limit(resources),
        pids_limit,
    }
}

/// One value of all containers as they run together, and whether every one of them has it.
fn sum(spec: &PodSpec, of: fn(Option<&ResourceRequirements>) -> Option<i64>) -> (i64, bool) {
    let (mut mains, mut sidecars, mut peak) = (0, 0, 0);
    let mut bounded = true;
    for (role, container) in containers(spec) {
        let value = of(container.resources.as_ref());
        bounded &= value.is_some();
        let value = value.unwrap_or(0);
        match role {
            super::model::Role::Init => peak = peak.max(value + sidecars),
            super::model::Role::Sidecar => sidecars += value,
            _ => mains += value,
        }
    }
    (peak.max(mains + sidecars), bounded)
}

/// What the pod asks of a node: millicores and bytes.
pub fn pod_requests(spec: &PodSpec) -> (i64, i64) {
    let pod = spec.resources.as_ref();
    let request = |of: fn(Option<&ResourceRequirements>) -> Option<i64>| of(pod).unwrap_or_else(|| sum(spec, of).0);
    (request(cpu_request), request(memory_request))
}

/// The limits of the pod's cgroup: the sum of its containers', set only where every container has one.
pub fn pod_resources(spec: &PodSpec) -> Resources {
    let pod = spec.resources.as_ref();
    let limit = |of: fn(Option<&ResourceRequirements>) -> Option<i64>| {
        of(pod).or_else(|| Some(sum(spec, of)).filter(|(_, bounded)| *bounded).map(|(value, _)| value))
    };
    let cpu = limit(cpu_limit);
    Resources {
        cpu_shares: Some(shares(pod_requests(spec).0)),
        cpu_quota: cpu.map(quota),
        cpu_period: cpu.map(|_| PERIOD as u64),
        memory_limit: limit(memory_limit),
        pids_limit: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: &[serde_json::Value]) -> PodSpec {
        let containers: Vec<_> = resources.iter().map(|r| serde_json::json!({"name": "c", "resources": r})).collect();
        serde_json::from_value(serde_json::json!({ "containers": containers })).unwrap()
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        let full = serde_json::json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let part = serde_json::json!({"requests": {"cpu": "100m"}});
        let none = serde_json::json!({});
        assert_eq!(class(&pod(std::slice::from_ref(&full))), "Guaranteed");
        assert_eq!(class(&pod(&[full, none.clone()])), "Burstable");
        assert_eq!(class(&pod(&[part])), "Burstable");
        assert_eq!(class(&pod(&[none.clone(), none])), "BestEffort");
    }

    #[test]
    fn cgroup_values_are_upstreams() {
        assert_eq!((shares(0), shares(1), shares(100), shares(2000)), (2, 2, 102, 2048));
        assert_eq!((quota(5), quota(100), quota(1500)), (1000, 10_000, 150_000));
        let two = pod(&[
            serde_json::json!({"limits": {"cpu": "500m", "memory": "64Mi"}}),
            serde_json::json!({"limits": {"cpu": "500m"}}),
        ]);
        let sum = pod_resources(&two);
        assert_eq!((sum.cpu_quota, sum.memory_limit), (Some(100_000), None));
    }
}
