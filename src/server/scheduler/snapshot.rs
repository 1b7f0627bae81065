//! What the scheduler knows of the cluster: nodes with what their pods ask of them, kept up to date by
//! small changes. Holds numbers and the Node, never whole pods that are bound.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use crate::api::pod as pods;
use crate::api::quantity::Quantity;

/// What a container without requests is taken to need when nodes are compared (not when they are filtered).
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources: cpu in thousandths, everything else in its own unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub milli_cpu: i64,
    pub memory: i64,
    pub ephemeral_storage: i64,
    /// Extended resources and huge pages, by name.
    pub others: BTreeMap<String, i64>,
}

impl Amounts {
    pub fn of<'a>(resources: impl IntoIterator<Item = (&'a String, Quantity)>) -> Self {
        let mut amounts = Self::default();
        for (name, amount) in resources {
            match name.as_str() {
                "cpu" => amounts.milli_cpu = amount.milli(),
                "memory" => amounts.memory = amount.value(),
                "ephemeral-storage" => amounts.ephemeral_storage = amount.value(),
                "pods" => {}
                _ => drop(amounts.others.insert(name.clone(), amount.value())),
            }
        }
        amounts
    }

    fn add(&mut self, other: &Self, sign: i64) {
        self.milli_cpu += sign * other.milli_cpu;
        self.memory += sign * other.memory;
        self.ephemeral_storage += sign * other.ephemeral_storage;
        for (name, amount) in &other.others {
            *self.others.entry(name.clone()).or_default() += sign * amount;
        }
    }
}

/// A port of the host that a pod takes: protocol, address (empty is all), port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub protocol: String,
    pub address: String,
    pub port: i32,
}

impl HostPort {
    /// Whether two pods cannot both have theirs on one node.
    pub fn clashes(&self, other: &Self) -> bool {
        let same_address = self.address.is_empty() || other.address.is_empty() || self.address == other.address;
        self.port == other.port && self.protocol == other.protocol && same_address
    }

    fn all_of(spec: &PodSpec) -> Vec<Self> {
        let of = |port: &k8s_openapi::api::core::v1::ContainerPort| Self {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            address: port.host_ip.clone().filter(|ip| ip != "0.0.0.0" && ip != "::").unwrap_or_default(),
            port: port.host_port.unwrap_or_default(),
        };
        pods::host_ports(spec).map(of).collect()
    }
}

/// What a pod takes from the node it is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub requests: Amounts,
    /// cpu and memory for comparing nodes: something even where nothing is requested.
    pub estimate: (i64, i64),
    pub ports: Vec<HostPort>,
}

impl Claim {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let requests = pods::requests_held(pod);
        let requests = Amounts::of(requests.iter().map(|(name, amount)| (name, *amount)));
        let mut estimate = (requests.milli_cpu, requests.memory);
        for container in &spec.containers {
            let asks = container.resources.as_ref().and_then(|r| r.requests.as_ref());
            let has = |name: &str| asks.is_some_and(|asks| asks.contains_key(name));
            estimate.0 += if has("cpu") { 0 } else { DEFAULT_MILLI_CPU };
            estimate.1 += if has("memory") { 0 } else { DEFAULT_MEMORY };
        }
        Self { requests, estimate, ports: HostPort::all_of(spec) }
    }
}

/// A pod that waits for a node.
#[derive(Clone, Debug)]
pub struct PodInfo {
    pub pod: Arc<Pod>,
    pub claim: Claim,
}

impl PodInfo {
    pub fn new(pod: Arc<Pod>) -> Self {
        let claim = Claim::of(&pod);
        Self { pod, claim }
    }
    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }
}

/// A node and what its pods take.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub node: Arc<Node>,
    pub allocatable: Amounts,
    pub max_pods: i64,
    pub requested: Amounts,
    pub estimated: (i64, i64),
    pub pods: i64,
    pub ports: HashSet<HostPort>,
}

impl NodeInfo {
    pub fn new(node: Arc<Node>) -> Self {
        let mut info = Self {
            node: node.clone(),
            allocatable: Amounts::default(),
            max_pods: 0,
            requested: Amounts::default(),
            estimated: (0, 0),
            pods: 0,
            ports: HashSet::new(),
        };
        info.set_node(node);
        info
    }

    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    fn set_node(&mut self, node: Arc<Node>) {
        let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        let resources = allocatable.into_iter().flatten().map(|(name, amount)| (name, Quantity::of(amount)));
        self.allocatable = Amounts::of(resources);
        self.max_pods = allocatable.and_then(|all| all.get("pods")).map_or(0, |pods| Quantity::of(pods).value());
        self.node = node;
    }

    fn change(&mut self, claim: &Claim, sign: i64) {
        self.requested.add(&claim.requests, sign);
        self.estimated.0 += sign * claim.estimate.0;
        self.estimated.1 += sign * claim.estimate.1;
        self.pods += sign;
        for port in &claim.ports {
            match sign > 0 {
                true => drop(self.ports.insert(port.clone())),
                false => drop(self.ports.remove(port)),
            }
        }
    }
}

/// The nodes, in a fixed order, and where each placed pod is counted.
#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    /// By pod UID: the node's name and what was counted there.
    placed: HashMap<String, (String, Claim)>,
}

impl Snapshot {
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        if let Some(at) = self.by_name.get(&name) {
            return self.nodes[*at].set_node(node);
        }
        let mut info = NodeInfo::new(node);
        for (_, claim) in self.placed.values().filter(|(on, _)| *on == name) {
            info.change(claim, 1);
        }
        self.by_name.insert(name, self.nodes.len());
        self.nodes.push(info);
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.by_name.remove(name) else { return };
        self.nodes.swap_remove(at);
        if let Some(moved) = self.nodes.get(at) {
            self.by_name.insert(moved.name().to_owned(), at);
        }
    }

    /// Counts a pod on a node (again, where it was counted before).
    pub fn place(&mut self, uid: &str, node: &str, claim: Claim) {
        if self.placed.get(uid).is_some_and(|(on, counted)| on == node && *counted == claim) {
            return;
        }
        self.remove(uid);
        if let Some(at) = self.by_name.get(node) {
            self.nodes[*at].change(&claim, 1);
        }
        self.placed.insert(uid.to_owned(), (node.to_owned(), claim));
    }

    /// Forgets a pod; whether it was counted at all.
    pub fn remove(&mut self, uid: &str) -> bool {
        let Some((node, claim)) = self.placed.remove(uid) else { return false };
        if let Some(at) = self.by_name.get(&node) {
            self.nodes[*at].change(&claim, -1);
        }
        true
    }

    pub fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str) -> Arc<Node> {
        let status = json!({"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10"}});
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap())
    }

    fn claim(cpu: &str, host_port: i32) -> Claim {
        let container = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}, "ports": [{"containerPort": 1, "hostPort": host_port}]});
        Claim::of(&serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap())
    }

    #[test]
    fn pods_are_counted_once_whatever_the_order() {
        let mut snapshot = Snapshot::default();
        snapshot.place("early", "a", claim("500m", 80));
        snapshot.set_node(node("a"));
        snapshot.set_node(node("b"));
        snapshot.place("p", "a", claim("1", 0));
        snapshot.place("p", "a", claim("1", 0));
        let on = |snapshot: &Snapshot, name: &str| {
            let info = snapshot.nodes().iter().find(|info| info.name() == name).unwrap();
            (info.requested.milli_cpu, info.pods, info.ports.len())
        };
        assert_eq!(on(&snapshot, "a"), (1500, 2, 1));
        snapshot.place("p", "b", claim("1", 0));
        assert_eq!((on(&snapshot, "a"), on(&snapshot, "b")), ((500, 1, 1), (1000, 1, 0)));
        snapshot.remove_node("a");
        assert!(snapshot.remove("early") && !snapshot.remove("early"));
        assert_eq!(on(&snapshot, "b"), (1000, 1, 0));
    }

    #[test]
    fn host_ports_clash_by_address() {
        let port = |address: &str, port| HostPort { protocol: "TCP".to_owned(), address: address.to_owned(), port };
        assert!(port("", 80).clashes(&port("10.0.0.1", 80)));
        assert!(!port("10.0.0.2", 80).clashes(&port("10.0.0.1", 80)));
        assert!(!port("", 80).clashes(&port("", 81)));
    }
}
