//! Links by the beginning of their names, for taking down what an earlier run left, and the MTU of the one that
//! holds an address. Called by `cmd` and the agent.

use std::io;
use std::net::IpAddr;

use crate::net::netlink::{Netlink, links};

/// The links of this network namespace whose names begin with `prefix`.
pub fn named(prefix: &str) -> io::Result<Vec<String>> {
    let links = Netlink::route()?.links()?;
    Ok(links.iter().filter_map(links::name).filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
}

/// The MTU of the link that holds `address`; `None` where no link does.
pub fn mtu(address: IpAddr) -> io::Result<Option<u32>> {
    let IpAddr::V4(address) = address else { return Ok(None) };
    Ok(Netlink::route()?.link_with(address)?.as_ref().map(links::mtu))
}

/// Removes a link with its addresses and routes; one that is gone already (with its peer) is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let mut socket = Netlink::route()?;
    match socket.link(name)? {
        Some(link) => socket.delete_link(link.header.index),
        None => Ok(()),
    }
}
