//! Asks every peer through the overlay and beside it, with small packets and large ones, and tells from the difference
//! what is likely wrong. Looking blocks the calling thread and happens in its network namespace; judging is pure.
//! Changes nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::{Mac, Paths};
use crate::net::echo;

const SMALL: u32 = 84;
/// On a healthy network an answer comes within a few milliseconds, and three packets do not all get lost.
const PATIENCE: Duration = Duration::from_millis(400);
const ATTEMPTS: usize = 3;
/// How exactly a path's MTU is found out.
const STEP: u32 = 4;

/// A peer as the kernel's entries have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub range: Ipv4Net,
    pub gateway: Ipv4Addr,
    pub mac: Option<Mac>,
    pub node_ip: Option<Ipv4Addr>,
}

/// What came of asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where its entries lead, and where the node says it is, if that is known.
    pub entry: Option<Ipv4Addr>,
    pub node_ip: Option<Ipv4Addr>,
    /// The node answers on its own address.
    pub direct: bool,
    pub small: bool,
    /// The largest packet that came back through the overlay, and the largest that should.
    pub carries: u32,
    pub mtu: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Well,
    /// The kernel has a route to it but not where it is.
    Incomplete,
    /// Its entries lead to where it is not any more.
    Stale {
        entry: Ipv4Addr,
        node_ip: Ipv4Addr,
    },
    /// It does not answer on its own address either.
    Unreachable {
        node_ip: Ipv4Addr,
    },
    /// It answers on its own address only.
    Blocked {
        node_ip: Ipv4Addr,
    },
    /// Only packets up to a size pass.
    Narrow {
        node_ip: Ipv4Addr,
        carries: u32,
    },
}

pub fn cause(seen: &Seen) -> Cause {
    let Some(entry) = seen.entry else { return Cause::Incomplete };
    match seen.node_ip {
        Some(node_ip) if node_ip != entry => Cause::Stale { entry, node_ip },
        _ if !seen.small && !seen.direct => Cause::Unreachable { node_ip: entry },
        _ if !seen.small => Cause::Blocked { node_ip: entry },
        _ if seen.carries < seen.mtu => Cause::Narrow { node_ip: entry, carries: seen.carries },
        _ => Cause::Well,
    }
}

/// The peers that the kernel has routes to.
pub fn entries(paths: &Paths) -> Vec<Entry> {
    let entry = |(range, hop): (&Ipv4Net, &super::Hop)| {
        let mac = paths.neighbours.get(&hop.gateway).copied();
        let node_ip = mac.and_then(|mac| paths.forwarding.get(&mac)).copied();
        Entry { range: *range, gateway: hop.gateway, mac, node_ip }
    };
    paths.routes.iter().map(entry).collect()
}

/// Asks a peer. `mtu` is that of our VXLAN link, `port` one on which nodes listen, `node_ip` where the node says it is.
pub fn ask(entry: &Entry, mtu: u32, port: u16, node_ip: Option<Ipv4Addr>) -> io::Result<Seen> {
    let mut seen = Seen { entry: entry.node_ip, node_ip, direct: false, small: false, carries: 0, mtu };
    let Some(address) = entry.node_ip else { return Ok(seen) };
    seen.small = echoes(entry.gateway, SMALL)?;
    seen.direct = seen.small || echoes(address, SMALL)? || listens(SocketAddr::from((address, port)));
    if seen.small {
        seen.carries = largest(mtu, |size| echoes(entry.gateway, size))?;
    }
    Ok(seen)
}

/// Asks a peer without an overlay between, whose own address leads to its pods. `mtu` is that of the wire.
pub fn ask_neighbour(entry: &Entry, mtu: u32, port: u16, node_ip: Option<Ipv4Addr>) -> io::Result<Seen> {
    let address = entry.gateway;
    let mut seen = Seen { entry: Some(address), node_ip, direct: false, small: false, carries: mtu, mtu };
    let echoing = echoes(address, SMALL)?;
    seen.direct = echoing || listens(SocketAddr::from((address, port)));
    seen.small = seen.direct;
    if echoing {
        seen.carries = largest(mtu, |size| echoes(address, size))?;
    }
    Ok(seen)
}

fn echoes(to: Ipv4Addr, size: u32) -> io::Result<bool> {
    for _ in 0..ATTEMPTS {
        if echo::ask(to, size as usize, PATIENCE)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refusing is an answer, too.
fn listens(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

/// The largest size up to `mtu` that passes, where small ones do.
fn largest(mtu: u32, mut passes: impl FnMut(u32) -> io::Result<bool>) -> io::Result<u32> {
    if passes(mtu)? {
        return Ok(mtu);
    }
    let (mut yes, mut no) = (SMALL.min(mtu), mtu);
    while no - yes > STEP {
        let middle = yes + (no - yes) / 2;
        if passes(middle)? { yes = middle } else { no = middle }
    }
    Ok(yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_tells_the_cause() {
        let (entry, other) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 8));
        let well =
            Seen { entry: Some(entry), node_ip: Some(entry), direct: true, small: true, carries: 1450, mtu: 1450 };
        for (seen, wanted) in [
            (well.clone(), Cause::Well),
            (Seen { node_ip: None, ..well.clone() }, Cause::Well),
            (Seen { entry: None, ..well.clone() }, Cause::Incomplete),
            (Seen { node_ip: Some(other), small: false, ..well.clone() }, Cause::Stale { entry, node_ip: other }),
            (Seen { small: false, ..well.clone() }, Cause::Blocked { node_ip: entry }),
            (Seen { small: false, direct: false, ..well.clone() }, Cause::Unreachable { node_ip: entry }),
            (Seen { carries: 1300, ..well.clone() }, Cause::Narrow { node_ip: entry, carries: 1300 }),
        ] {
            assert_eq!(cause(&seen), wanted, "{seen:?}");
        }
    }

    #[test]
    fn the_largest_packet_is_found_in_a_few_attempts() {
        for (path, wanted) in [(1450, 1450..=1450), (1449, 1445..=1449), (1230, 1226..=1230), (84, 84..=84)] {
            let mut asked = 0;
            let found = largest(1450, |size| {
                asked += 1;
                Ok(size <= path)
            });
            assert!(wanted.contains(&found.unwrap()) && asked <= 12, "{path}: {asked}");
        }
    }

    #[test]
    fn peers_are_read_off_the_entries() {
        let (gateway, mac) = (Ipv4Addr::new(10, 42, 1, 0), Mac([2, 0, 0, 0, 0, 1]));
        let mut paths = Paths::default();
        paths.routes.insert("10.42.1.0/24".parse().unwrap(), super::super::Hop { gateway, link: 3 });
        assert_eq!((entries(&paths)[0].mac, entries(&paths)[0].node_ip), (None, None));
        paths.neighbours.insert(gateway, mac);
        paths.forwarding.insert(mac, [192, 0, 2, 7].into());
        assert_eq!(entries(&paths)[0].node_ip, Some([192, 0, 2, 7].into()));
    }
}
