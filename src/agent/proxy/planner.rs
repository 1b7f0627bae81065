//! From changed Services to changes of the table. It remembers what every Service asked for, so that a change is
//! only what differs; no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::agent::proxy::firewall;
use crate::agent::proxy::ledger::{Ledger, Slot, Turn};
use crate::agent::proxy::plan::{self, Destination, Node, Plan, Target};
use crate::agent::proxy::skeleton::{self as names, Choice};
use crate::agent::services::{Key, View};
use crate::net::nft::Change;
use crate::net::nft::diff::target;
use crate::net::nft::model::{Chain, Element, Name, Protocol, Value};

/// Kernels before 6.2 take a chain for used until some time after the last element that led to it went away.
const RETIREMENT: Duration = Duration::from_secs(1);

/// Destinations and the only endpoints that old connections may lead to.
pub type Targets = BTreeMap<Destination, BTreeSet<Target>>;

pub struct Planner {
    node: Node,
    cluster: Ipv4Net,
    ledger: Ledger,
    /// How many elements lead to each shared chain.
    uses: HashMap<Name, usize>,
    /// Whom the chains for load balancers let through.
    firewalls: HashMap<Name, Vec<Ipv4Net>>,
    /// Shared chains that nothing leads to any more, and since when.
    retired: BTreeMap<Name, Instant>,
    /// Where the UDP destinations of each Service led.
    datagrams: HashMap<Key, Targets>,
}

impl Planner {
    pub fn new(node: Node, cluster: Ipv4Net) -> Self {
        Self {
            node,
            cluster,
            ledger: Ledger::default(),
            uses: HashMap::new(),
            firewalls: HashMap::new(),
            retired: BTreeMap::new(),
            datagrams: HashMap::new(),
        }
    }

    /// From now on the node is in this zone and has this address; every Service is to be planned again.
    pub fn set_place(&mut self, zone: Option<String>, ip: Option<Ipv4Addr>) {
        self.node.zone = zone;
        self.node.ip = ip.unwrap_or(self.node.ip);
    }

    /// The changes of the table, whose chains are `chains`, for the new state of some Services; and the UDP destinations
    /// whose endpoints changed.
    pub fn plan(&mut self, views: Vec<(Key, View)>, chains: &HashSet<Name>, now: Instant) -> (Vec<Change>, Targets) {
        let mut turns = Vec::new();
        let mut stale = Targets::new();
        turns.extend(self.ledger.replace(&Key::new("", names::NODE_PORT_IPS), self.node_port_ips()));
        for (key, view) in views {
            let Plan { mut elements, targets, firewall } = plan::plan(&view, &self.node);
            self.firewalls.extend(firewall);
            if !elements.is_empty() {
                elements.extend(plan::hairpins(&view, &self.node));
            }
            turns.extend(self.ledger.replace(&key, elements));
            self.note_datagrams(key, targets, &mut stale);
        }
        (self.changes(turns, chains, now), stale)
    }

    /// A wish of nobody's Service.
    fn node_port_ips(&self) -> BTreeMap<Slot, Element> {
        let known = Some(self.node.ip).filter(|ip| !ip.is_unspecified());
        known.map(|ip| ((names::NODE_PORT_IPS.into(), Value::EMPTY.address(ip)), Element::Member)).into_iter().collect()
    }

    fn note_datagrams(&mut self, key: Key, targets: Targets, stale: &mut Targets) {
        let now: Targets = targets.into_iter().filter(|((_, p, _), _)| *p == Protocol::Udp).collect();
        let before = self.datagrams.remove(&key).unwrap_or_default();
        for destination in before.keys().chain(now.keys()) {
            if before.get(destination) != now.get(destination) {
                stale.insert(*destination, now.get(destination).cloned().unwrap_or_default());
            }
        }
        if !now.is_empty() {
            self.datagrams.insert(key, now);
        }
    }

    /// Chains come before the elements that lead to them and go after those; an element leaves before it comes back.
    fn changes(&mut self, turns: Vec<Turn>, chains: &HashSet<Name>, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        for name in self.count(&turns) {
            match (self.uses.contains_key(&name), chains.contains(&name)) {
                (true, there) => {
                    self.retired.remove(&name);
                    if let Some(chain) = self.chain(&name).filter(|_| !there) {
                        changes.push(Change::AddChain(name.clone(), Chain::default()));
                        changes.push(Change::AddRules(name, chain));
                    }
                }
                (false, true) if self.chain(&name).is_some() => drop(self.retired.insert(name, now)),
                _ => {}
            }
        }
        let gone = turns.iter().filter_map(|turn| Some((&turn.slot, turn.before.as_ref()?)));
        changes.extend(gone.map(|((set, key), it)| Change::RemoveElement(set.clone(), *key, it.clone())));
        let new = turns.into_iter().filter_map(|turn| Some((turn.slot, turn.after?)));
        changes.extend(new.map(|((set, key), it)| Change::AddElement(set, key, it)));
        changes.extend(self.clear(now));
        changes
    }

    /// The rules of a shared chain; `None` for the skeleton's.
    fn chain(&self, name: &Name) -> Option<Chain> {
        let choice = Choice::parse(name).map(|choice| choice.chain(self.cluster));
        choice.or_else(|| self.firewalls.get(name).map(|allowed| firewall::chain(allowed)))
    }

    /// Removes chains that have been out of use for a while.
    fn clear(&mut self, now: Instant) -> Vec<Change> {
        let old = |since: &Instant| now.duration_since(*since) >= RETIREMENT;
        let due: Vec<Name> =
            self.retired.iter().filter(|(_, since)| old(since)).map(|(name, _)| name.clone()).collect();
        for name in &due {
            self.retired.remove(name);
        }
        if !due.is_empty() {
            self.firewalls.retain(|name, _| self.uses.contains_key(name) || self.retired.contains_key(name));
        }
        due.into_iter().flat_map(|name| [Change::FlushRules(name.clone()), Change::RemoveChain(name)]).collect()
    }

    /// Counts what leads to shared chains and returns those whose count changed.
    fn count(&mut self, turns: &[Turn]) -> BTreeSet<Name> {
        let mut touched = BTreeSet::new();
        for name in turns.iter().filter_map(|turn| target(turn.after.as_ref()?)) {
            *self.uses.entry(name.clone()).or_default() += 1;
            touched.insert(name.clone());
        }
        for name in turns.iter().filter_map(|turn| target(turn.before.as_ref()?)) {
            touched.insert(name.clone());
            if let Some(count) = self.uses.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.uses.remove(name);
                }
            }
        }
        touched
    }
}
