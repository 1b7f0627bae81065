//! The address of this machine as others reach it: given, or what the default route says, and then followed as it
//! changes (a new lease, another uplink). Sends no packet and changes nothing.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::packet_route::address::AddressScope;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::sys::protocols;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::net::netlink::links::local;
use crate::net::netlink::listen::Listener;
use crate::net::netlink::{Netlink, kind};

/// Groups of messages and their types (linux/rtnetlink.h).
const ADDRESSES: u32 = 5;
const ROUTES: u32 = 7;
const ADDRESS_AND_ROUTE_CHANGES: [u16; 4] = [20, 21, 24, 25];

/// A change comes as several messages: an address goes, another comes, the route follows.
const SETTLE: Duration = Duration::from_millis(200);

/// An address that may change. Cheap to clone; following it ends with the last clone.
#[derive(Clone, Debug)]
pub struct NodeAddress {
    address: watch::Receiver<IpAddr>,
    _task: Option<Arc<AbortOnDropHandle<()>>>,
}

impl NodeAddress {
    /// One that somebody decided on.
    pub fn fixed(address: IpAddr) -> Self {
        Self { address: watch::channel(address).1, _task: None }
    }

    /// One that is told by somebody else.
    pub fn told(address: watch::Receiver<IpAddr>) -> Self {
        Self { address, _task: None }
    }

    /// What the machine has now and whatever it has later; `None` where it has only loopback. Links whose names begin
    /// with `own_prefix` do not count: they are the cluster's, not the machine's.
    pub fn of_machine(own_prefix: &str) -> io::Result<Option<Self>> {
        let mut listener =
            Listener::open(protocols::NETLINK_ROUTE, &[ADDRESSES, ROUTES], "changes of the node's address")?;
        let own_prefix = own_prefix.to_owned();
        let Some(first) = choose(None, &look(&own_prefix)?) else { return Ok(None) };
        let (sender, address) = watch::channel(first);
        let task = tokio::spawn(async move {
            loop {
                listener.next(|message| ADDRESS_AND_ROUTE_CHANGES.contains(&kind(message))).await;
                while tokio::time::timeout(SETTLE, listener.next(|_| true)).await.is_ok() {}
                let current = *sender.borrow();
                match look(&own_prefix) {
                    Ok(seen) => settle(&sender, choose(Some(current), &seen)),
                    Err(error) => tracing::warn!(%error, "the node's address cannot be looked up"),
                }
            }
        });
        Ok(Some(Self { address, _task: Some(Arc::new(AbortOnDropHandle::new(task))) }))
    }

    pub fn get(&self) -> IpAddr {
        *self.address.borrow()
    }

    /// For those who know nothing of networks. It tells of changes while a clone of `self` lives.
    pub fn receiver(&self) -> watch::Receiver<IpAddr> {
        self.address.clone()
    }

    /// The address where it is of IPv4.
    pub fn v4(&self) -> Option<Ipv4Addr> {
        match self.get() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    /// Waits until the address is another one than when this clone last waited; never returns where it cannot change.
    /// Cancel-safe.
    pub async fn changed(&mut self) {
        if self.address.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn settle(sender: &watch::Sender<IpAddr>, chosen: Option<IpAddr>) {
    let Some(chosen) = chosen else { return };
    let changed = sender.send_if_modified(|known| std::mem::replace(known, chosen) != chosen);
    if changed {
        tracing::info!(address = %chosen, "this machine's address has changed");
    }
}

/// What the machine shows.
#[derive(Debug, Default)]
struct Seen {
    /// What a packet to the outside would carry.
    outgoing: Option<IpAddr>,
    /// The addresses that its own links hold and others may know, the first link's first.
    held: Vec<IpAddr>,
}

/// A machine without a default route keeps what it has, as long as it has it: a flapping link is no new address.
fn choose(current: Option<IpAddr>, seen: &Seen) -> Option<IpAddr> {
    let kept = current.filter(|current| seen.held.contains(current));
    seen.outgoing.or(kept).or(seen.held.first().copied())
}

fn look(own_prefix: &str) -> io::Result<Seen> {
    let mut socket = Netlink::route()?;
    let is_own = |it: &LinkAttribute| matches!(it, LinkAttribute::IfName(name) if name.starts_with(own_prefix));
    let links = socket.links()?.into_iter().filter(|link| link.attributes.iter().any(is_own));
    let own: HashSet<_> = links.map(|link| link.header.index).collect();
    let addresses = socket.addresses()?.into_iter();
    let told = addresses.filter(|it| it.header.scope == AddressScope::Universe && !own.contains(&it.header.index));
    let held = told.filter_map(|it| local(&it)).filter(|it| !it.is_loopback()).map(IpAddr::V4).collect();
    Ok(Seen { outgoing: outgoing(), held })
}

/// Connecting a UDP socket only looks up a route (to a documentation address, RFC 5737).
fn outgoing() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_up_only_for_a_better_one() {
        let ip = |last: u8| IpAddr::from([10, 0, 0, last]);
        let seen = |outgoing: Option<u8>, held: &[u8]| Seen {
            outgoing: outgoing.map(ip),
            held: held.iter().copied().map(ip).collect(),
        };
        for (current, seen, expected) in [
            (None, seen(Some(2), &[1, 2]), Some(2)),
            (None, seen(None, &[1, 2]), Some(1)),
            (None, seen(None, &[]), None),
            (Some(2), seen(None, &[1, 2]), Some(2)),
            (Some(2), seen(Some(1), &[1, 2]), Some(1)),
            (Some(2), seen(None, &[1]), Some(1)),
            (Some(2), seen(None, &[]), None),
        ] {
            assert_eq!(choose(current.map(ip), &seen), expected.map(ip), "{current:?} {seen:?}");
        }
    }

    #[tokio::test]
    async fn only_another_address_wakes() {
        let (sender, receiver) = watch::channel(IpAddr::from([10, 0, 0, 1]));
        let mut address = NodeAddress::told(receiver);
        settle(&sender, None);
        settle(&sender, Some([10, 0, 0, 1].into()));
        assert!(!address.address.has_changed().unwrap());
        settle(&sender, Some([10, 0, 0, 2].into()));
        address.changed().await;
        assert_eq!(address.v4(), Some([10, 0, 0, 2].into()));
    }
}
