//! Which Services and endpoints an address belongs to, and which namespaces there are: what cannot be read off the copy
//! of Services by its keys. Holds addresses and keys only; names are made when somebody asks.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;

use crate::agent::services::{Key, View};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Role {
    ClusterIp,
    Endpoint,
}

#[derive(Default)]
pub struct Index(RwLock<State>);

#[derive(Default)]
struct State {
    by_address: BTreeSet<(IpAddr, Role, Key)>,
    by_service: HashMap<Key, Box<[(IpAddr, Role)]>>,
    /// How many Services each namespace holds.
    namespaces: HashMap<Arc<str>, usize>,
    changed: u32,
}

impl Index {
    /// Takes a Service with its endpoints as they are now.
    pub fn put(&self, key: Key, view: &View) {
        let addresses = addresses(view);
        let mut state = self.0.write();
        state.changed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as u32);
        match state.by_service.remove(&key) {
            Some(before) => {
                for (address, role) in before {
                    state.by_address.remove(&(address, role, key.clone()));
                }
                if view.service.is_none() {
                    state.leave(&key.namespace);
                }
            }
            None if view.service.is_some() => *state.namespaces.entry(key.namespace.clone()).or_default() += 1,
            None => {}
        }
        if view.service.is_some() {
            state.by_address.extend(addresses.iter().map(|(address, role)| (*address, *role, key.clone())));
            state.by_service.insert(key, addresses);
        }
    }

    /// The Services whose cluster IP this is, and those one of whose ready endpoints has it.
    pub fn owners(&self, address: IpAddr) -> (Vec<Key>, Vec<Key>) {
        let state = self.0.read();
        let of = |role| state.by_address.range(all(address, role)).map(|(_, _, key)| key.clone()).collect();
        (of(Role::ClusterIp), of(Role::Endpoint))
    }

    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.0.read().namespaces.contains_key(namespace)
    }

    /// When something changed last, in seconds since 1970, as a zone's serial number.
    pub fn serial(&self) -> u32 {
        self.0.read().changed.max(1)
    }
}

impl State {
    fn leave(&mut self, namespace: &str) {
        if let Some(count) = self.namespaces.get_mut(namespace) {
            *count -= 1;
            if *count == 0 {
                self.namespaces.remove(namespace);
            }
        }
    }
}

/// Every key of an address in a role: keys begin with the empty one, and the next role or address ends them.
fn all(address: IpAddr, role: Role) -> RangeInclusive<(IpAddr, Role, Key)> {
    // No namespace of Kubernetes sorts behind this.
    (address, role, Key::new("", ""))..=(address, role, Key::new("\u{10ffff}", ""))
}

fn addresses(view: &View) -> Box<[(IpAddr, Role)]> {
    let Some(service) = &view.service else { return Box::default() };
    let ready = view.slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready);
    let endpoints = ready.map(|endpoint| (endpoint.address, Role::Endpoint));
    let mut all: Vec<_> = service.cluster_ips.iter().map(|ip| (*ip, Role::ClusterIp)).chain(endpoints).collect();
    all.sort();
    all.dedup();
    all.into()
}
