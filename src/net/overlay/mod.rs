//! The way to the pods of other nodes, as flannel lays it: a VXLAN link with one route, one ARP entry and one
//! FDB entry for each peer, or, where all nodes share a wire, one route to each (`host-gw`).
//!
//! [`Paths::of`] says purely what the kernel should have and [`diff`] what is to be changed; [`kernel`] looks and
//! does; [`events`] tells when to look again. Routes carry a protocol number of our own, and everything else hangs on
//! a link of our own, so that nobody else's are ever touched. Knows no Kubernetes; called by the agent.

pub mod events;
pub mod kernel;
mod offload;
pub mod selftest;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::Ipv4Net;
use sha2::{Digest as _, Sha256};

/// flannel's defaults.
pub const VNI: u32 = 1;
pub const PORT: u16 = 8472;
/// What VXLAN takes of each packet: outer Ethernet, IPv4, UDP and its own header.
pub const OVERHEAD: u32 = 50;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of a node's end of the overlay: the same after each restart, so that peers' entries stay true.
    pub fn of_node(name: &str) -> Self {
        let digest = Sha256::digest(format!("orch overlay {name}"));
        let mut bytes = [0; 6];
        bytes.copy_from_slice(&digest[..6]);
        // Of one machine, and given by a person, not by a maker.
        bytes[0] = bytes[0] & 0xfc | 0x02;
        Self(bytes)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or("six bytes with colons between them")?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| "a byte that is not hexadecimal")?;
        }
        if parts.next().is_some() { Err("more than six bytes") } else { Ok(Self(bytes)) }
    }
}

/// How packets reach other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    #[default]
    Vxlan,
    /// By plain routes; all nodes must be on one wire.
    HostGateway,
}

impl Backend {
    /// flannel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vxlan => "vxlan",
            Self::HostGateway => "host-gw",
        }
    }

    /// What is left of a wire's MTU for a pod.
    pub fn pod_mtu(self, wire: u32) -> u32 {
        match self {
            Self::Vxlan => wire.saturating_sub(OVERHEAD),
            Self::HostGateway => wire,
        }
    }
}

impl FromStr for Backend {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Vxlan, Self::HostGateway];
        all.into_iter().find(|backend| backend.name() == text).ok_or_else(|| "must be vxlan or host-gw".to_owned())
    }
}

/// Another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub node_ip: Ipv4Addr,
    pub mac: Mac,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    pub gateway: Ipv4Addr,
    pub link: u32,
}

/// Everything that peers need in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    pub routes: BTreeMap<Ipv4Net, Hop>,
    /// ARP: who has the address that routes name as gateway.
    pub neighbours: BTreeMap<Ipv4Addr, Mac>,
    /// FDB: on which machine that is.
    pub forwarding: BTreeMap<Mac, Ipv4Addr>,
}

impl Paths {
    /// What `peers`, by their pod ranges, need. `link` is the VXLAN link, or for `host-gw` the wire.
    pub fn of(backend: Backend, peers: &BTreeMap<Ipv4Net, Peer>, link: u32) -> Self {
        let mut paths = Self::default();
        for (range, peer) in peers {
            match backend {
                Backend::Vxlan => {
                    let gateway = range.network();
                    paths.routes.insert(*range, Hop { gateway, link });
                    paths.neighbours.insert(gateway, peer.mac);
                    paths.forwarding.insert(peer.mac, peer.node_ip);
                }
                Backend::HostGateway => {
                    paths.routes.insert(*range, Hop { gateway: peer.node_ip, link });
                }
            }
        }
        paths
    }
}

/// One change of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    DropRoute(Ipv4Net),
    DropNeighbour(Ipv4Addr),
    DropForwarding(Mac, Ipv4Addr),
    Forward(Mac, Ipv4Addr),
    Neighbour(Ipv4Addr, Mac),
    Route(Ipv4Net, Hop),
}

/// What makes `observed` be as `desired`. What is gone goes first; a new route comes last, when its way is laid.
pub fn diff(desired: &Paths, observed: &Paths) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(gone(&desired.routes, &observed.routes).map(|(range, _)| Step::DropRoute(*range)));
    steps.extend(gone(&desired.neighbours, &observed.neighbours).map(|(address, _)| Step::DropNeighbour(*address)));
    // An FDB entry is not replaced by one for another machine but joined by it, so a changed one goes first.
    let forwarding = observed.forwarding.iter().filter(|(mac, node)| desired.forwarding.get(mac) != Some(node));
    steps.extend(forwarding.map(|(mac, node)| Step::DropForwarding(*mac, *node)));
    steps.extend(changed(&desired.forwarding, &observed.forwarding).map(|(mac, node)| Step::Forward(*mac, *node)));
    steps.extend(changed(&desired.neighbours, &observed.neighbours).map(|(ip, mac)| Step::Neighbour(*ip, *mac)));
    steps.extend(changed(&desired.routes, &observed.routes).map(|(range, hop)| Step::Route(*range, *hop)));
    steps
}

fn gone<'a, K: Ord, V>(
    desired: &'a BTreeMap<K, V>,
    observed: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    observed.iter().filter(|(key, _)| !desired.contains_key(key))
}

fn changed<'a, K: Ord, V: PartialEq>(
    desired: &'a BTreeMap<K, V>,
    observed: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    desired.iter().filter(|(key, value)| observed.get(key) != Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn peer(last: u8) -> Peer {
        Peer { node_ip: [192, 0, 2, last].into(), mac: Mac([2, 0, 0, 0, 0, last]) }
    }

    #[test]
    fn a_peer_is_reached_by_a_route_an_arp_and_an_fdb_entry() {
        let peers = BTreeMap::from([(net("10.42.1.0/24"), peer(7))]);
        let paths = Paths::of(Backend::Vxlan, &peers, 9);
        let gateway = Ipv4Addr::from([10, 42, 1, 0]);
        let mac = peer(7).mac;
        assert_eq!(
            diff(&paths, &Paths::default()),
            [
                Step::Forward(mac, [192, 0, 2, 7].into()),
                Step::Neighbour(gateway, mac),
                Step::Route(net("10.42.1.0/24"), Hop { gateway, link: 9 })
            ]
        );
        assert!(diff(&paths, &paths).is_empty());
        let plain = Paths::of(Backend::HostGateway, &peers, 2);
        let hop = Hop { gateway: [192, 0, 2, 7].into(), link: 2 };
        assert_eq!(diff(&plain, &Paths::default()), [Step::Route(net("10.42.1.0/24"), hop)]);
    }

    #[test]
    fn what_changed_is_changed_and_what_left_goes() {
        let before = BTreeMap::from([(net("10.42.1.0/24"), peer(7)), (net("10.42.2.0/24"), peer(8))]);
        let moved = Peer { node_ip: [192, 0, 2, 70].into(), ..peer(7) };
        let after = BTreeMap::from([(net("10.42.1.0/24"), moved)]);
        let steps = diff(&Paths::of(Backend::Vxlan, &after, 9), &Paths::of(Backend::Vxlan, &before, 9));
        assert_eq!(
            steps,
            [
                Step::DropRoute(net("10.42.2.0/24")),
                Step::DropNeighbour([10, 42, 2, 0].into()),
                Step::DropForwarding(peer(7).mac, [192, 0, 2, 7].into()),
                Step::DropForwarding(peer(8).mac, [192, 0, 2, 8].into()),
                Step::Forward(peer(7).mac, [192, 0, 2, 70].into()),
            ]
        );
    }

    #[test]
    fn a_nodes_mac_is_its_own_and_stays() {
        let mac = Mac::of_node("a");
        assert_eq!(mac, Mac::of_node("a"));
        assert_ne!(mac, Mac::of_node("b"));
        assert_eq!(mac.0[0] & 3, 2, "local, unicast");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for wrong in ["", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:0g", "2:0:0:0:0:0"] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong:?}");
        }
    }
}
