//! What one Service asks of the proxy's sets. Pure: a Service with its endpoints goes in, elements come out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use crate::agent::proxy::endpoints::{self, Usable};
use crate::agent::proxy::firewall;
use crate::agent::proxy::ledger::Slot;
use crate::agent::proxy::skeleton::{self as names, Choice, Side};
use crate::agent::services::{Service, View, ipv4};
use crate::net::nft::model::{Element, Name, Protocol, Value, Verdict};

/// What the plan depends on besides the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub zone: Option<String>,
    pub ip: Ipv4Addr,
    /// Served by the agent itself on this very node.
    pub cluster_dns: Option<Ipv4Addr>,
}

/// Where a Service's port is reached: an address, or zero for every address of a node.
pub type Destination = (Ipv4Addr, Protocol, u16);
pub type Target = (Ipv4Addr, u16);

/// The elements for a Service, and what goes with them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub elements: BTreeMap<Slot, Element>,
    /// The only endpoints that old connections to a destination may lead to.
    pub targets: BTreeMap<Destination, BTreeSet<Target>>,
    /// The chain that checks a load balancer's clients, and whom it lets through.
    pub firewall: Option<(Name, Vec<Ipv4Net>)>,
}

/// A port of the Service.
struct Port<'a> {
    service: &'a Service,
    usable: &'a Usable,
    /// The destination that stands for the port where its clients are remembered, whichever they used.
    identity: Option<Destination>,
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
    for it in &service.ports {
        let usable = endpoints::usable(view, it, node);
        let internal = cluster_ips.iter().map(|ip| (*ip, it.protocol, it.port));
        let external = ipv4(&service.external_ips).chain(ipv4(&service.balancer_ips));
        let external = external.map(|ip| (ip, it.protocol, it.port));
        let node_port = it.node_port.map(|port| (Ipv4Addr::UNSPECIFIED, it.protocol, port));
        let external: Vec<_> = external.chain(node_port).collect();
        let identity = internal.clone().chain(external.iter().copied()).next();
        let port = Port { service, usable: &usable, identity };
        internal.for_each(|to| plan.internal(&port, to));
        external.into_iter().for_each(|to| plan.external(&port, to));
    }
    plan.guard(service, node);
    plan
}

impl Plan {
    fn internal(&mut self, port: &Port<'_>, to: Destination) {
        let list = if port.service.internal_local { &port.usable.local } else { &port.usable.cluster };
        if list.is_empty() {
            return self.nowhere(port, to);
        }
        self.lead(port, to, Side::Internal, list, &[]);
    }

    fn external(&mut self, port: &Port<'_>, to: Destination) {
        if !port.usable.anywhere {
            return self.nowhere(port, to);
        }
        if port.service.external_local {
            self.lead(port, to, Side::ExternalLocal, &port.usable.cluster, &port.usable.local);
        } else {
            self.lead(port, to, Side::External, &port.usable.cluster, &[]);
        }
    }

    /// No endpoint: refused, or, when other nodes have some but the policy forbids them, dropped.
    fn nowhere(&mut self, port: &Port<'_>, to: Destination) {
        let drop = port.usable.anywhere;
        let verdict = if drop { Verdict::Drop } else { Verdict::Goto(names::REJECT.into()) };
        self.put(names::NO_ENDPOINTS, value(to), Element::Verdict(verdict));
        self.targets.insert(to, port.usable.serving.clone());
    }

    fn lead(&mut self, port: &Port<'_>, to: Destination, side: Side, endpoints: &[Target], local: &[Target]) {
        let count = |list: &[Target]| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let choice = Choice {
            side,
            node_port: to.0.is_unspecified(),
            endpoints: count(endpoints),
            local: count(local),
            affinity: port.service.affinity.filter(|seconds| *seconds > 0),
        };
        self.put(names::SERVICES, value(to), Element::Verdict(Verdict::Goto(choice.name())));
        for (list, offset) in [(endpoints, 0), (local, names::LOCAL)] {
            for (n, (address, port)) in (0u32..).zip(list) {
                let target = Element::Value(Value::EMPTY.address(*address).port(*port));
                self.put(names::ENDPOINTS, value(to).number(n + offset), target);
            }
        }
        if let (Some(_), Some(identity)) = (choice.affinity, port.identity) {
            self.put(names::IDENTITIES, value(to), Element::Value(value(identity)));
            for (list, offset) in [(endpoints, 0), (local, names::LOCAL)] {
                for (address, port) in list {
                    let kept = value(identity).address(*address).port(*port).number(offset);
                    self.put(names::STICKY, kept, Element::Member);
                }
            }
        }
        self.targets.insert(to, port.usable.serving.clone());
    }

    /// Only some clients may use the load balancer's addresses.
    fn guard(&mut self, service: &Service, node: &Node) {
        if service.balancer_sources.is_empty() || service.balancer_ips.is_empty() {
            return;
        }
        let mut allowed = service.balancer_sources.clone();
        // A balancer's address is often one of this host's too: its own requests then come from that address.
        if allowed.iter().any(|range| range.contains(&node.ip)) {
            allowed.extend(ipv4(&service.balancer_ips).map(Ipv4Net::from));
        }
        allowed.sort();
        let name = firewall::name(&allowed);
        for ip in ipv4(&service.balancer_ips) {
            for port in &service.ports {
                let verdict = Verdict::Goto(name.clone());
                self.put(names::FIREWALL, value((ip, port.protocol, port.port)), Element::Verdict(verdict));
            }
        }
        self.firewall = Some((name, allowed));
    }

    fn put(&mut self, set: &str, key: Value, element: Element) {
        self.elements.insert((set.into(), key), element);
    }
}

/// A connection that a pod makes to itself through a Service needs another source address. These are elements of
/// their own, because they hold whatever the destination.
pub fn hairpins(view: &View, node: &Node) -> impl Iterator<Item = (Slot, Element)> {
    let slices = view.slices.iter().filter(|slice| !slice.other_proxy);
    let here = slices.flat_map(|slice| &slice.endpoints);
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
