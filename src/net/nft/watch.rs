//! Hears when somebody else deletes a table of ours (`nft flush ruleset`, a firewall's restart). Never changes anything.

use std::io;

use rtnetlink::packet_core::NLM_F_ACK;
use rtnetlink::sys::protocols;

use crate::net::netlink::listen::{Heard, Listener};
use crate::net::netlink::{Netlink, attributes, kind, number};
use crate::net::nft::encode;
use crate::net::nft::encode::message::{DELETE_TABLE, GET_TABLE};

/// Deletions of one table by others than us.
pub struct Deletions {
    listener: Listener,
    kernel: Netlink,
    table: String,
    /// The netlink port of our own changes.
    own: u32,
}

impl Deletions {
    /// Listens in the network namespace of the calling thread.
    pub fn listen(table: &str, own: u32) -> io::Result<Self> {
        const NFTABLES: u32 = 7;
        let listener = Listener::open(protocols::NETLINK_NETFILTER, &[NFTABLES], "deleted tables")?;
        Ok(Self { listener, kernel: Netlink::netfilter()?, table: table.to_owned(), own })
    }

    /// Waits for the next deletion. Cancel-safe.
    pub async fn next(&mut self) {
        loop {
            let Self { listener, table, own, .. } = self;
            let heard = listener.next(|message| is_deletion(message, table, *own)).await;
            // A large change, also one of our own, says more than is kept for us: then only a missing table was deleted.
            if heard == Heard::It || !self.is_there() {
                return;
            }
        }
    }

    fn is_there(&mut self) -> bool {
        let body = encode::table(&self.table, GET_TABLE).body;
        self.kernel.request(GET_TABLE, NLM_F_ACK, &body).is_ok()
    }
}

fn is_deletion(message: &[u8], table: &str, own: u32) -> bool {
    let name = || attributes::find(message.get(20..).unwrap_or_default(), 1);
    kind(message) == DELETE_TABLE
        && number(message, 12) != own
        && name().is_some_and(|name| name.strip_suffix(&[0]) == Some(table.as_bytes()))
}
