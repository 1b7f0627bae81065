//! From changed Services to changes of the table. It remembers what every Service asked for, so that a change is
//! only what differs; no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ipnet::Ipv4Net;

use crate::agent::proxy::ledger::{Ledger, Turn};
use crate::agent::proxy::plan::{self, Destination, Node, Plan, Target};
use crate::agent::proxy::skeleton::Choice;
use crate::agent::services::{Key, View};
use crate::net::nft::Change;
use crate::net::nft::diff::target;
use crate::net::nft::model::{Chain, Name, Protocol};

/// Destinations and the only endpoints that old connections may lead to.
pub type Targets = BTreeMap<Destination, BTreeSet<Target>>;

pub struct Planner {
    node: Node,
    cluster: Ipv4Net,
    ledger: Ledger,
    /// How many elements lead to each shared chain.
    uses: HashMap<Name, usize>,
    /// Where the UDP destinations of each Service led.
    datagrams: HashMap<Key, Targets>,
}

impl Planner {
    pub fn new(node: Node, cluster: Ipv4Net) -> Self {
        Self { node, cluster, ledger: Ledger::default(), uses: HashMap::new(), datagrams: HashMap::new() }
    }

    /// The changes of the table, whose chains are `chains`, for the new state of some Services; and the UDP destinations
    /// whose endpoints changed.
    pub fn plan(&mut self, views: Vec<(Key, View)>, chains: &HashSet<Name>) -> (Vec<Change>, Targets) {
        let mut turns = Vec::new();
        let mut stale = Targets::new();
        for (key, view) in views {
            let Plan { mut elements, targets } = plan::plan(&view, &self.node);
            if !elements.is_empty() {
                elements.extend(plan::hairpins(&view, &self.node));
            }
            turns.extend(self.ledger.replace(&key, elements));
            self.note_datagrams(key, targets, &mut stale);
        }
        (self.changes(turns, chains), stale)
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
    fn changes(&mut self, turns: Vec<Turn>, chains: &HashSet<Name>) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut idle = Vec::new();
        for name in self.count(&turns) {
            let Some(choice) = Choice::parse(&name) else { continue };
            match (self.uses.contains_key(&name), chains.contains(&name)) {
                (true, false) => {
                    changes.push(Change::AddChain(name.clone(), Chain::default()));
                    changes.push(Change::AddRules(name, choice.chain(self.cluster)));
                }
                (false, true) => idle.push(name),
                _ => {}
            }
        }
        let gone = turns.iter().filter_map(|turn| Some((&turn.slot, turn.before.as_ref()?)));
        changes.extend(gone.map(|((set, key), it)| Change::RemoveElement(set.clone(), *key, it.clone())));
        let new = turns.into_iter().filter_map(|turn| Some((turn.slot, turn.after?)));
        changes.extend(new.map(|((set, key), it)| Change::AddElement(set, key, it)));
        for name in idle {
            changes.push(Change::FlushRules(name.clone()));
            changes.push(Change::RemoveChain(name));
        }
        changes
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
