//! Hears when somebody, or the kernel itself, changes what the overlay stands on: a link that flaps, an address
//! that moves, a route or an entry that is deleted. Never changes anything.

use std::io;

use rtnetlink::sys::protocols;

use super::kernel::PROTOCOL;
use crate::net::netlink::listen::Listener;
use crate::net::netlink::{HEADER, attributes, kind, number};

/// Message types (linux/rtnetlink.h).
const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const NEW_ADDRESS: u16 = 20;
const DEL_ADDRESS: u16 = 21;
const DEL_ROUTE: u16 = 25;
const DEL_NEIGHBOUR: u16 = 29;

/// Groups of messages to listen to.
const LINKS: u32 = 1;
const NEIGHBOURS: u32 = 3;
const ADDRESSES: u32 = 5;
const ROUTES: u32 = 7;

const RTA_OIF: u16 = 4;
/// Bytes of a route message before its attributes.
const ROUTE: usize = 12;

/// Changes that may concern the overlay.
pub struct Changes {
    listener: Listener,
    /// The links that matter: the wire and the overlay's own.
    links: Vec<u32>,
}

impl Changes {
    /// Listens in the network namespace of the calling thread.
    pub fn listen() -> io::Result<Self> {
        let groups = [LINKS, NEIGHBOURS, ADDRESSES, ROUTES];
        let listener = Listener::open(protocols::NETLINK_ROUTE, &groups, "changes of links and routes")?;
        Ok(Self { listener, links: Vec::new() })
    }

    /// From now on only what concerns these links is told; every link while there are none.
    pub fn about(&mut self, links: Vec<u32>) {
        self.links = links;
    }

    /// Waits for the next change. Cancel-safe.
    pub async fn next(&mut self) {
        let Self { listener, links } = self;
        listener.next(|message| concerns(message, links)).await;
    }
}

/// Whether a message tells of something that the overlay may have to mend. What is added beside ours is no matter.
fn concerns(message: &[u8], links: &[u32]) -> bool {
    let ours = |index: u32| links.is_empty() || links.contains(&index);
    match kind(message) {
        NEW_LINK | DEL_LINK | NEW_ADDRESS | DEL_ADDRESS | DEL_NEIGHBOUR => ours(number(message, HEADER + 4)),
        DEL_ROUTE => {
            let body = message.get(HEADER..).unwrap_or_default();
            let link = body.get(ROUTE..).and_then(|rest| attributes::find(rest, RTA_OIF));
            body.get(5) == Some(&PROTOCOL) || link.is_some_and(|link| ours(number(link, 0)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::netlink::attributes::Writer;
    use crate::net::netlink::frame;

    fn link(kind: u16, index: u32) -> Vec<u8> {
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        frame(kind, 0, 1, &body)
    }

    fn route(kind: u16, protocol: u8, index: u32) -> Vec<u8> {
        let mut body = vec![0; ROUTE];
        body[5] = protocol;
        let mut attributes = Writer::default();
        attributes.bytes(RTA_OIF, &index.to_ne_bytes());
        body.extend(attributes.into_bytes());
        frame(kind, 0, 1, &body)
    }

    #[test]
    fn only_what_may_need_mending_wakes() {
        let cases = [
            (link(NEW_LINK, 3), true),
            (link(DEL_LINK, 4), true),
            (link(NEW_LINK, 9), false),
            (link(DEL_ADDRESS, 3), true),
            (link(DEL_NEIGHBOUR, 4), true),
            (link(28, 4), false),
            (route(DEL_ROUTE, 2, 4), true),
            (route(DEL_ROUTE, PROTOCOL, 9), true),
            (route(DEL_ROUTE, 2, 9), false),
            (route(24, PROTOCOL, 4), false),
        ];
        for (number, (message, expected)) in cases.iter().enumerate() {
            assert_eq!(concerns(message, &[3, 4]), *expected, "case {number}");
        }
        assert!(concerns(&link(NEW_ADDRESS, 9), &[]), "before the links are known, all matter");
        assert!(!concerns(&frame(DEL_ROUTE, 0, 1, &[0; 4]), &[3]), "a truncated message");
    }
}
