//! Tells when this machine loses addresses, by netlink events. Sends no packet and changes nothing.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use rtnetlink::sys::protocols;

use crate::net::netlink::links::local;
use crate::net::netlink::listen::Listener;
use crate::net::netlink::{Netlink, kind};

/// The group of messages about IPv4 addresses, and the type that tells of a loss (linux/rtnetlink.h).
const ADDRESSES: u32 = 5;
const DELETED: u16 = 21;

/// An address that goes and comes back, as when a lease is renewed, was never lost.
const SETTLE: Duration = Duration::from_millis(200);

pub struct Losses(Listener);

impl Losses {
    pub fn listen() -> io::Result<Self> {
        Ok(Self(Listener::open(protocols::NETLINK_ROUTE, &[ADDRESSES], "lost addresses")?))
    }

    /// Waits until some were lost, and gives those that are left. Not cancel-safe.
    pub async fn next(&mut self) -> io::Result<HashSet<Ipv4Addr>> {
        self.0.next(|message| kind(message) == DELETED).await;
        while tokio::time::timeout(SETTLE, self.0.next(|_| true)).await.is_ok() {}
        Ok(Netlink::route()?.addresses()?.iter().filter_map(local).collect())
    }
}
