//! What one Service asks of the proxy's sets. Pure: a Service with its endpoints goes in, elements come out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::agent::proxy::ledger::Slot;
use crate::agent::proxy::skeleton::{self as names, Choice, Side};
use crate::agent::services::{Service, ServicePort, View, ipv4};
use crate::net::nft::model::{Element, Protocol, Value, Verdict};

/// What the plan depends on besides the Service.
#[derive(Clone, Debug)]
pub struct Node {
    pub name: String,
    /// Served by the agent itself on this very node.
    pub cluster_dns: Option<Ipv4Addr>,
}

/// Where a Service's port is reached: an address, or zero for every address of a node.
pub type Destination = (Ipv4Addr, Protocol, u16);
pub type Target = (Ipv4Addr, u16);

/// The elements for a Service, and where each of its destinations leads (for cleaning up old connections).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub elements: BTreeMap<Slot, Element>,
    pub targets: BTreeMap<Destination, BTreeSet<Target>>,
}

/// The endpoints that may be used for a port, those on this node apart.
#[derive(Default)]
struct Usable {
    all: Vec<Target>,
    local: Vec<Target>,
}

pub fn plan(view: &View, node: &Node) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = view.service.as_deref() else { return plan };
    if service.headless || service.other_proxy || service.external_name.is_some() {
        return plan;
    }
    let cluster_ips: Vec<_> = ipv4(&service.cluster_ips).filter(|ip| Some(*ip) != node.cluster_dns).collect();
    for ip in &cluster_ips {
        plan.put(names::CLUSTER_IPS, Value::EMPTY.address(*ip), Element::Member);
    }
    for port in &service.ports {
        let usable = usable(view, port, &node.name);
        for ip in &cluster_ips {
            plan.internal(service, (*ip, port.protocol, port.port), &usable);
        }
        for ip in ipv4(&service.external_ips).chain(ipv4(&service.balancer_ips)) {
            plan.external(service, (ip, port.protocol, port.port), &usable);
        }
        if let Some(node_port) = port.node_port {
            plan.external(service, (Ipv4Addr::UNSPECIFIED, port.protocol, node_port), &usable);
        }
    }
    plan
}

impl Plan {
    fn internal(&mut self, service: &Service, to: Destination, usable: &Usable) {
        if service.internal_local {
            if usable.local.is_empty() {
                return self.nowhere(to, !usable.all.is_empty());
            }
            return self.lead(service, to, Side::Internal, &usable.local, &[]);
        }
        if usable.all.is_empty() {
            return self.nowhere(to, false);
        }
        self.lead(service, to, Side::Internal, &usable.all, &[]);
    }

    fn external(&mut self, service: &Service, to: Destination, usable: &Usable) {
        if usable.all.is_empty() {
            return self.nowhere(to, false);
        }
        if service.external_local {
            self.lead(service, to, Side::ExternalLocal, &usable.all, &usable.local);
        } else {
            self.lead(service, to, Side::External, &usable.all, &[]);
        }
    }

    /// No endpoint: refused, or, when other nodes have some but the policy forbids them, dropped.
    fn nowhere(&mut self, to: Destination, drop: bool) {
        let verdict = if drop { Verdict::Drop } else { Verdict::Goto(names::REJECT.into()) };
        self.put(names::NO_ENDPOINTS, value(to), Element::Verdict(verdict));
        self.targets.insert(to, BTreeSet::new());
    }

    fn lead(&mut self, service: &Service, to: Destination, side: Side, endpoints: &[Target], local: &[Target]) {
        let count = |list: &[Target]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let choice = Choice {
            side,
            node_port: to.0.is_unspecified(),
            endpoints: count(endpoints),
            local: count(local),
            affinity: service.affinity.filter(|seconds| *seconds > 0),
        };
        self.put(names::SERVICES, value(to), Element::Verdict(Verdict::Goto(choice.name())));
        for (list, offset) in [(endpoints, 0), (local, names::LOCAL)] {
            for (n, (address, port)) in (0u32..).zip(list) {
                let target = Element::Value(Value::EMPTY.address(*address).port(*port));
                self.put(names::ENDPOINTS, value(to).number(n + offset), target);
                if choice.affinity.is_some() {
                    self.put(names::STICKY, value(to).address(*address).port(*port), Element::Member);
                }
            }
        }
        self.targets.insert(to, endpoints.iter().copied().collect());
    }

    fn put(&mut self, set: &str, key: Value, element: Element) {
        self.elements.insert((set.into(), key), element);
    }
}

/// A connection that a pod makes to itself through a Service needs another source address. These are elements of
/// their own, because they hold whatever the destination.
pub fn hairpins(view: &View, node: &Node) -> impl Iterator<Item = (Slot, Element)> {
    let here = view.slices.iter().flat_map(|slice| &slice.endpoints);
    here.filter(|endpoint| endpoint.node.as_deref() == Some(&*node.name)).filter_map(|endpoint| {
        match endpoint.address {
            IpAddr::V4(ip) => Some(((names::HAIRPIN.into(), Value::EMPTY.address(ip).address(ip)), Element::Member)),
            IpAddr::V6(_) => None,
        }
    })
}

fn value((address, protocol, port): Destination) -> Value {
    Value::EMPTY.address(address).protocol(protocol).port(port)
}

/// Ready endpoints; when there are none, those that still serve while they terminate. The rule holds for all endpoints
/// and, apart from that, for those on this node (KEP-1669).
fn usable(view: &View, port: &ServicePort, node: &str) -> Usable {
    let mut ready = Usable::default();
    let mut serving = Usable::default();
    for slice in &view.slices {
        let Some(target) = slice.ports.iter().find(|it| it.name == port.name && it.protocol == port.protocol) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            let IpAddr::V4(address) = endpoint.address else { continue };
            let list = match (endpoint.ready, endpoint.serving && endpoint.terminating) {
                (true, _) => &mut ready,
                (false, true) => &mut serving,
                _ => continue,
            };
            list.all.push((address, target.port));
            if endpoint.node.as_deref() == Some(node) {
                list.local.push((address, target.port));
            }
        }
    }
    let choose = |ready: Vec<Target>, serving: Vec<Target>| {
        let chosen: BTreeSet<_> = if ready.is_empty() { serving } else { ready }.into_iter().collect();
        chosen.into_iter().collect()
    };
    Usable { all: choose(ready.all, serving.all), local: choose(ready.local, serving.local) }
}
