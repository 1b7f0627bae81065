//! In-place resize: what a running container was given, what its spec asks for now, and whether the node has it. Pure;
//! `plan` decides by it, the worker carries it out, and `status` tells of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};

use super::host::Capacity;
use super::model::{Observed, containers};
use super::qos;
use crate::api::quantity;

type List = BTreeMap<String, String>;

/// The resources that can be changed in a running container.
const CHANGEABLE: [&str; 2] = ["cpu", "memory"];

/// What a container runs with, in the API's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    requests: List,
    limits: List,
}

impl Applied {
    pub fn of(container: &Container) -> Self {
        let texts = |list: Option<&BTreeMap<String, Quantity>>| {
            list.into_iter().flatten().map(|(name, value)| (name.clone(), value.0.clone())).collect()
        };
        let resources = container.resources.as_ref();
        Self {
            requests: texts(resources.and_then(|resources| resources.requests.as_ref())),
            limits: texts(resources.and_then(|resources| resources.limits.as_ref())),
        }
    }

    /// As the container's status shows it; claims and the like are the spec's.
    pub fn show(&self, spec: Option<&ResourceRequirements>) -> Option<ResourceRequirements> {
        let quantities = |list: &List| {
            let list = list.iter().map(|(name, value)| (name.clone(), Quantity(value.clone())));
            Some(list.collect::<BTreeMap<_, _>>()).filter(|list| !list.is_empty())
        };
        let claims = spec.and_then(|spec| spec.claims.clone());
        let shown =
            ResourceRequirements { requests: quantities(&self.requests), limits: quantities(&self.limits), claims };
        (shown != ResourceRequirements::default()).then_some(shown)
    }
}

/// How a running container gets what its spec asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    None,
    InPlace,
    Restart,
}

/// Compares amounts, not spellings.
pub fn change(container: &Container, applied: &Applied) -> Change {
    let wanted = Applied::of(container);
    let differs = |name: &str| {
        let amount =
            |list: &List| list.get(name).and_then(|text| text.parse::<quantity::Quantity>().ok()).map(|q| q.milli());
        amount(&wanted.requests) != amount(&applied.requests) || amount(&wanted.limits) != amount(&applied.limits)
    };
    let restarts = |name: &str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|policy| policy.resource_name == name && policy.restart_policy == "RestartContainer")
    };
    let changed: Vec<_> = CHANGEABLE.into_iter().filter(|name| differs(name)).collect();
    match changed.is_empty() {
        true => Change::None,
        false if changed.into_iter().any(restarts) => Change::Restart,
        false => Change::InPlace,
    }
}

/// What pods ask of the node: CPU in thousandths, memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub cpu: i64,
    pub memory: i64,
}

impl Claim {
    pub fn of(spec: &PodSpec) -> Self {
        let (cpu, memory) = qos::pod_requests(spec);
        Self { cpu, memory }
    }
}

impl std::iter::Sum for Claim {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self { cpu: sum.cpu + one.cpu, memory: sum.memory + one.memory })
    }
}

/// Whether the node has what a pod asks for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    #[default]
    Fits,
    /// When others have gone.
    Deferred(String),
    /// Never on this node.
    Infeasible(String),
}

pub fn verdict(wanted: Claim, others: Claim, node: Claim) -> Verdict {
    let pairs = [("cpu", wanted.cpu, others.cpu, node.cpu), ("memory", wanted.memory, others.memory, node.memory)];
    if let Some((name, wanted, _, node)) = pairs.into_iter().find(|(_, wanted, _, node)| wanted > node) {
        let message = format!("Node didn't have enough capacity: {name}, requested: {wanted}, capacity: {node}");
        return Verdict::Infeasible(message);
    }
    match pairs.into_iter().find(|(_, wanted, others, node)| wanted + others > *node) {
        Some((name, wanted, used, node)) => Verdict::Deferred(format!(
            "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {node}"
        )),
        None => Verdict::Fits,
    }
}

/// What pods may have of a node.
pub fn allocatable(capacity: Capacity) -> Claim {
    Claim { cpu: capacity.cpu_milli, memory: super::node::allocatable_memory(capacity) }
}

/// How the pod's resize stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub verdict: Verdict,
    /// The last try failed so, and the next may be made then.
    pub failed: Option<(String, Timestamp)>,
}

/// Whether a running container has other resources than its spec asks for.
pub fn is_wanted(spec: &PodSpec, seen: &Observed) -> bool {
    containers(spec).any(|(_, container)| {
        let state = seen.container(&container.name).filter(|state| state.is_running());
        let applied = state.and_then(|state| state.applied.as_ref());
        applied.is_some_and(|applied| change(container, applied) != Change::None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_made_as_its_policy_says() {
        let container = |resources: serde_json::Value| -> Container {
            let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
            serde_json::from_value(json!({"name": "c", "resources": resources, "resizePolicy": policy})).unwrap()
        };
        let applied = Applied::of(&container(json!({"requests": {"cpu": "100m", "memory": "64Mi"}})));
        for (requests, expected) in [
            (json!({"cpu": "0.1", "memory": "65536Ki"}), Change::None),
            (json!({"cpu": "200m", "memory": "64Mi"}), Change::InPlace),
            (json!({"cpu": "200m", "memory": "65Mi"}), Change::Restart),
        ] {
            assert_eq!(change(&container(json!({"requests": requests})), &applied), expected);
        }
    }

    #[test]
    fn what_does_not_fit_waits_or_never_fits() {
        let claim = |cpu, memory| Claim { cpu, memory };
        let node = claim(2000, 1000);
        assert_eq!(verdict(claim(500, 10), claim(1500, 10), node), Verdict::Fits);
        assert_eq!(
            verdict(claim(501, 10), claim(1500, 10), node),
            Verdict::Deferred(
                "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000".into()
            )
        );
        assert_eq!(
            verdict(claim(1, 1001), claim(1500, 10), node),
            Verdict::Infeasible("Node didn't have enough capacity: memory, requested: 1001, capacity: 1000".into())
        );
    }
}
