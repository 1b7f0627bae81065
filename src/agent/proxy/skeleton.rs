//! The rules that do not depend on any Service. All that depends on one is elements of these sets; what is chosen among
//! N endpoints goes through a chain that all Services with N endpoints share. Pure.
//!
//! A packet's destination (address, protocol, port; for a node port the address is zero) is looked up once in
//! `services` and leads to such a chain, which looks up `endpoints` by the destination and a random number
//! below N: two hash lookups, however many Services and endpoints there are.

use ipnet::Ipv4Net;

use crate::agent::proxy::node_ports::NodePortAddresses;
use crate::net::nft::model::{
    Chain, Column, Field, HookKind, NEW, Name, Point, Protocol, Rule, Set, SetKind, Statement, TRANSLATED, Table,
    Verdict,
};

/// (address, protocol, port) → chain
pub const SERVICES: &str = "services";
/// (address, protocol, port, number) → (address, port)
pub const ENDPOINTS: &str = "endpoints";
/// (address, protocol, port) → reject or drop
pub const NO_ENDPOINTS: &str = "no-endpoints";
/// Every address that some Service has in the cluster.
pub const CLUSTER_IPS: &str = "cluster-ips";
/// (address, address) of this node's endpoints: connections of a pod to itself.
pub const HAIRPIN: &str = "hairpin";
/// (address, protocol, port) → (address, protocol, port): the destination that stands for all of a Service's port, so
/// that a client is remembered whichever of them it uses.
pub const IDENTITIES: &str = "identities";
/// (identity, address, port, list): which endpoints a client may keep.
pub const STICKY: &str = "sticky-endpoints";
/// (client, identity) → (address, port), filled by the rules.
const AFFINITY: &str = "affinity";
/// (address, protocol, port) → the chain that says who may use it.
pub const FIREWALL: &str = "firewall";
/// The node's own address, where node ports are on no other.
pub const NODE_PORT_IPS: &str = "nodeport-ips";
/// The chain that refuses.
pub const REJECT: &str = "reject";

/// The mark of connections whose source must become this node's, the bit that kube-proxy uses for it.
const MASQUERADE: u32 = 0x4000;
/// Local endpoints are numbered from here, so that one destination has both lists.
pub const LOCAL: u32 = 1 << 31;

/// The table without any Service, whose addresses are of the range `services`.
pub fn table(name: &str, services: Ipv4Net, node_ports: &NodePortAddresses) -> Table {
    use Column::{Address, Number, Port, Protocol};
    let destination = [Address, Protocol, Port];
    let firewall = || vec![opening(look_up(Field::DestinationAddress, FIREWALL))];
    let endpoint = vec![Address, Port];
    let sets = [
        (SERVICES, Set::new(SetKind::Verdicts, &destination)),
        (NO_ENDPOINTS, Set::new(SetKind::Verdicts, &destination)),
        (ENDPOINTS, Set::new(SetKind::Map(endpoint.clone()), &[Address, Protocol, Port, Number])),
        (CLUSTER_IPS, Set::new(SetKind::Members, &[Address])),
        (NODE_PORT_IPS, Set::new(SetKind::Members, &[Address])),
        (HAIRPIN, Set::new(SetKind::Members, &[Address, Address])),
        (IDENTITIES, Set::new(SetKind::Map(destination.to_vec()), &destination)),
        (STICKY, Set::new(SetKind::Members, &[Address, Protocol, Port, Address, Port, Number])),
        (AFFINITY, Set::new(SetKind::Learned(endpoint), &[Address, Address, Protocol, Port])),
        (FIREWALL, Set::new(SetKind::Verdicts, &destination)),
    ];
    let chains = [
        ("firewall-prerouting", Chain::hooked(HookKind::Filter, Point::Prerouting, -110, firewall())),
        ("firewall-output", Chain::hooked(HookKind::Filter, Point::Output, -110, firewall())),
        ("nat-prerouting", Chain::hooked(HookKind::Nat, Point::Prerouting, -100, translate())),
        ("nat-output", Chain::hooked(HookKind::Nat, Point::Output, -100, translate())),
        ("nat-postrouting", Chain::hooked(HookKind::Nat, Point::Postrouting, 100, masquerade())),
        ("filter-input", Chain::hooked(HookKind::Filter, Point::Input, 0, filter())),
        ("filter-forward", Chain::hooked(HookKind::Filter, Point::Forward, 0, filter())),
        ("filter-output", Chain::hooked(HookKind::Filter, Point::Output, 0, filter())),
        ("destinations", Chain::plain(destinations(SERVICES, node_ports))),
        ("refusals", Chain::plain(refusals(services, node_ports))),
        (REJECT, Chain::plain(reject())),
    ];
    Table {
        name: name.to_owned(),
        sets: sets.into_iter().map(|(name, set)| (name.into(), set)).collect(),
        chains: chains.into_iter().map(|(name, chain)| (name.into(), chain)).collect(),
    }
}

fn translate() -> Vec<Rule> {
    vec![vec![Statement::ipv4(), Statement::jump("destinations")]]
}

fn filter() -> Vec<Rule> {
    vec![opening(Statement::jump("refusals"))]
}

/// Only for packets that open a connection.
fn opening(then: Statement) -> Rule {
    vec![Statement::ipv4(), Statement::has_bits(Field::ConnectionState, NEW), then]
}

fn look_up(address: Field, map: &str) -> Statement {
    let key = vec![address, Field::TransportProtocol, Field::DestinationPort];
    Statement::VerdictMap { key, map: map.into() }
}

fn masquerade() -> Vec<Rule> {
    let hairpin = Statement::Member { key: vec![Field::SourceAddress, Field::DestinationAddress], set: HAIRPIN.into() };
    vec![
        vec![
            Statement::ipv4(),
            Statement::has_bits(Field::Mark, MASQUERADE),
            Statement::MarkClear(MASQUERADE),
            Statement::Masquerade,
        ],
        vec![
            Statement::ipv4(),
            Statement::has_bits(Field::ConnectionStatus, TRANSLATED),
            hairpin,
            Statement::Masquerade,
        ],
    ]
}

/// Looks the packet's destination up; where node ports are, the address does not count.
fn destinations(map: &str, node_ports: &NodePortAddresses) -> Vec<Rule> {
    let mut rules = vec![vec![look_up(Field::DestinationAddress, map)]];
    rules.extend(node_ports.conditions().into_iter().map(|mut rule| {
        rule.push(look_up(Field::Constant([0; 4]), map));
        rule
    }));
    rules
}

/// What was not translated although it is meant for a Service. An address that no Service has is nobody's: it may
/// belong to one that we have not heard of yet, so clients are to try again.
fn refusals(services: Ipv4Net, node_ports: &NodePortAddresses) -> Vec<Rule> {
    let mut rules = destinations(NO_ENDPOINTS, node_ports);
    let unknown_port = Statement::Member { key: vec![Field::DestinationAddress], set: CLUSTER_IPS.into() };
    rules.push(vec![unknown_port, Statement::goto(REJECT)]);
    let foreign = Statement::is_not(Field::DestinationKind, crate::net::nft::model::LOCAL.to_ne_bytes());
    let nobodys = Statement::within(Field::DestinationAddress, services, true);
    rules.push(vec![nobodys, foreign, Statement::Verdict(Verdict::Drop)]);
    rules
}

fn reject() -> Vec<Rule> {
    vec![vec![Statement::protocol(Protocol::Tcp), Statement::RejectWithReset], vec![Statement::RejectUnreachable]]
}

/// From where a destination is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A cluster IP: sources outside the pod network get this node's address.
    Internal,
    /// From outside, to any endpoint: every source gets this node's address.
    External,
    /// From outside, only to this node's endpoints, which see the client's address.
    ExternalLocal,
}

/// What a chain chooses from; the chain's name says all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub side: Side,
    pub node_port: bool,
    pub endpoints: u32,
    /// How many endpoints are on this node; counts only for [`Side::ExternalLocal`].
    pub local: u32,
    /// Seconds for which a client keeps its endpoint.
    pub affinity: Option<u32>,
}

impl Choice {
    pub fn name(&self) -> Name {
        let side = match self.side {
            Side::Internal => "in",
            Side::External => "ex",
            Side::ExternalLocal => "lo",
        };
        let kind = if self.node_port { "port" } else { "ip" };
        format!("pick-{side}-{kind}-{}-{}-{}", self.endpoints, self.local, self.affinity.unwrap_or(0)).into()
    }

    /// The choice that a chain's name tells; `None` for other chains.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("pick-")?.split('-');
        let side = match parts.next()? {
            "in" => Side::Internal,
            "ex" => Side::External,
            "lo" => Side::ExternalLocal,
            _ => return None,
        };
        let node_port = parts.next()? == "port";
        let mut number = || parts.next()?.parse::<u32>().ok();
        let (endpoints, local) = (number()?, number()?);
        Some(Self { side, node_port, endpoints, local, affinity: number().filter(|seconds| *seconds > 0) })
    }

    pub fn chain(&self, cluster: Ipv4Net) -> Chain {
        let mark = || Statement::MarkSet(MASQUERADE);
        let from_pods = |inside| Statement::within(Field::SourceAddress, cluster, inside);
        let any = |when: &[Statement]| self.choose(when, self.endpoints, 0);
        let rules = match self.side {
            Side::Internal => [vec![vec![from_pods(false), mark()]], any(&[])].concat(),
            Side::External => [vec![vec![mark()]], any(&[])].concat(),
            Side::ExternalLocal => {
                // Traffic from inside the cluster has not come through a load balancer: any endpoint will do.
                let from_host = Statement::is(Field::SourceKind, crate::net::nft::model::LOCAL.to_ne_bytes());
                let inside = [any(&[from_pods(true)]), any(&[from_host, mark()])].concat();
                let outside = match self.local {
                    0 => vec![vec![Statement::Verdict(Verdict::Drop)]],
                    local => self.choose(&[], local, LOCAL),
                };
                [inside, outside].concat()
            }
        };
        Chain::plain(rules)
    }

    /// One of `count` endpoints, under these conditions.
    fn choose(&self, when: &[Statement], count: u32, offset: u32) -> Vec<Rule> {
        let rule = |then: Statement| [when, &[then]].concat();
        let Some(seconds) = self.affinity else { return vec![rule(self.translate(count, offset))] };
        let (key, identities, learned): (_, Name, Name) = (self.destination(), IDENTITIES.into(), AFFINITY.into());
        let before = Statement::TranslateAsBefore {
            key: key.clone(),
            identities: identities.clone(),
            learned: learned.clone(),
            valid: STICKY.into(),
            list: offset,
            seconds,
        };
        let choice = number(count, offset);
        let learn = Statement::TranslateAndLearn { key, identities, choice, map: ENDPOINTS.into(), learned, seconds };
        // The last is for the case that no more clients can be remembered.
        vec![rule(before), rule(learn), rule(self.translate(count, offset))]
    }

    fn translate(&self, count: u32, offset: u32) -> Statement {
        let mut key = self.destination();
        key.push(number(count, offset));
        Statement::Translate { key, map: ENDPOINTS.into() }
    }

    fn destination(&self) -> Vec<Field> {
        let address = if self.node_port { Field::Constant([0; 4]) } else { Field::DestinationAddress };
        vec![address, Field::TransportProtocol, Field::DestinationPort]
    }
}

fn number(count: u32, offset: u32) -> Field {
    if count == 1 { Field::Constant(offset.to_ne_bytes()) } else { Field::Random { modulus: count, offset } }
}
