//! Connections that the kernel remembers. UDP has no end of a connection, so a client that keeps sending would be led
//! to an endpoint that is gone for as long as it keeps sending. Called by the service proxy; only forgets what the
//! caller names.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP};

use crate::net::netlink::attributes::{Writer, find};
use crate::net::netlink::{self, Netlink, errno};
use crate::net::nft::model::Protocol;

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const IPV4: u8 = 2;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;

/// Where clients sent to; a zero address is any.
type Destination = (Ipv4Addr, Protocol, u16);
type Target = (Ipv4Addr, u16);

/// Whether this kernel follows SCTP's associations: those that it does not follow cannot be translated.
pub fn follows_sctp() -> bool {
    std::path::Path::new("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established").exists()
}

/// Forgets the connections to each destination that do not lead to one of its targets. Connections to a destination of
/// any address are forgotten only if they were translated or never answered: others are somebody else's.
pub fn forget(destinations: &BTreeMap<Destination, BTreeSet<Target>>) -> io::Result<()> {
    let mut socket = Netlink::netfilter()?;
    let entries = socket.request(GET, NLM_F_DUMP, &Writer::netfilter(IPV4, 0).into_bytes())?;
    for entry in &entries {
        let attributes = entry.get(20..).unwrap_or_default();
        let Some(original) = find(attributes, ORIGINAL) else { continue };
        let (Some(to), Some(by)) = (tuple(original), find(attributes, REPLY).and_then(tuple)) else { continue };
        if !is_stale(&to, &by, answered(attributes), destinations) {
            continue;
        }
        let mut body = Writer::netfilter(IPV4, 0);
        body.bytes(ORIGINAL | 1 << 15, original);
        match socket.request(DELETE, NLM_F_ACK, &body.into_bytes()) {
            Err(error) if !netlink::is(&error, &[errno::ENOENT]) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// One direction of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    source_port: u16,
    destination_port: u16,
}

/// Whether a packet has come back.
fn answered(attributes: &[u8]) -> bool {
    const STATUS: u16 = 3;
    const SEEN_REPLY: u32 = 2;
    let status = find(attributes, STATUS).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
    status & SEEN_REPLY != 0
}

fn is_stale(to: &Tuple, by: &Tuple, answered: bool, destinations: &BTreeMap<Destination, BTreeSet<Target>>) -> bool {
    let Some(protocol) = [Protocol::Udp, Protocol::Tcp, Protocol::Sctp].into_iter().find(|p| p.number() == to.protocol)
    else {
        return false;
    };
    let answered_by = (by.source, by.source_port);
    if let Some(targets) = destinations.get(&(to.destination, protocol, to.destination_port)) {
        return !targets.contains(&answered_by);
    }
    let translated = by.source != to.destination;
    let any = destinations.get(&(Ipv4Addr::UNSPECIFIED, protocol, to.destination_port));
    (translated || !answered) && any.is_some_and(|targets| !targets.contains(&answered_by))
}

fn tuple(attributes: &[u8]) -> Option<Tuple> {
    let address = |at| {
        let octets: [u8; 4] = find(find(attributes, 1)?, at)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    let transport = find(attributes, 2)?;
    let port = |at| {
        let bytes: [u8; 2] = find(transport, at)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    Some(Tuple {
        source: address(1)?,
        destination: address(2)?,
        protocol: *find(transport, 1)?.first()?,
        source_port: port(2)?,
        destination_port: port(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(source: [u8; 4], destination: [u8; 4], source_port: u16, destination_port: u16) -> Tuple {
        Tuple { source: source.into(), destination: destination.into(), protocol: 17, source_port, destination_port }
    }

    #[test]
    fn only_connections_that_lead_elsewhere_are_stale() {
        let vip = Ipv4Addr::new(10, 43, 0, 5);
        let endpoint = (Ipv4Addr::new(10, 42, 0, 2), 5353);
        let destinations = BTreeMap::from([
            ((vip, Protocol::Udp, 53), BTreeSet::from([endpoint])),
            ((Ipv4Addr::UNSPECIFIED, Protocol::Udp, 30053), BTreeSet::from([endpoint])),
        ]);
        let to = |destination, port| udp([10, 42, 0, 9], destination, 4000, port);
        let by = |source, port| udp(source, [10, 42, 0, 9], port, 4000);
        let stale = |to: Tuple, by: Tuple| is_stale(&to, &by, true, &destinations);
        assert!(!stale(to([10, 43, 0, 5], 53), by([10, 42, 0, 2], 5353)), "leads to the endpoint");
        assert!(stale(to([10, 43, 0, 5], 53), by([10, 42, 0, 3], 5353)), "the endpoint is gone");
        assert!(stale(to([10, 43, 0, 5], 53), by([10, 43, 0, 5], 53)), "was never translated");
        assert!(!stale(to([10, 43, 0, 6], 53), by([10, 42, 0, 3], 5353)), "another destination");
        assert!(stale(to([192, 0, 2, 1], 30053), by([10, 42, 0, 3], 5353)), "a node port");
        assert!(!stale(to([192, 0, 2, 1], 30053), by([192, 0, 2, 1], 30053)), "somebody else's port of that number");
        let unanswered = |to: Tuple, by: Tuple| is_stale(&to, &by, false, &destinations);
        assert!(
            unanswered(to([192, 0, 2, 1], 30053), by([192, 0, 2, 1], 30053)),
            "sent before the node port was there"
        );
    }
}
