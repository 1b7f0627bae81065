//! Hears when somebody else deletes a table of ours (`nft flush ruleset`, a firewall's restart). Never changes anything.

use std::io;

use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket, protocols};

use crate::net::netlink::{attributes, messages, number};
use crate::net::nft::encode::message::DELETE_TABLE;

/// Deletions of one table by others than us.
pub struct Deletions {
    socket: TokioSocket,
    table: String,
    /// The netlink port of our own changes.
    own: u32,
}

impl Deletions {
    /// Listens in the network namespace of the calling thread.
    pub fn listen(table: &str, own: u32) -> io::Result<Self> {
        const NFTABLES: u32 = 7;
        let mut socket = TokioSocket::new(protocols::NETLINK_NETFILTER)?;
        socket.socket_mut().bind_auto()?;
        socket.socket_mut().add_membership(NFTABLES)?;
        Ok(Self { socket, table: table.to_owned(), own })
    }

    /// Waits for the next deletion. Cancel-safe.
    pub async fn next(&mut self) {
        loop {
            match self.socket.recv_from_full().await {
                Ok((datagram, _)) if messages(&datagram).any(|message| self.is_deletion(message)) => return,
                Ok(_) => {}
                // The kernel drops events rather than queue them without bound: perhaps one of a deletion.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => return,
                Err(error) => {
                    tracing::warn!(%error, "no longer listening for deleted tables");
                    return std::future::pending().await;
                }
            }
        }
    }

    fn is_deletion(&self, message: &[u8]) -> bool {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        let name = || attributes::find(message.get(20..).unwrap_or_default(), 1);
        kind == DELETE_TABLE
            && number(message, 12) != self.own
            && name().is_some_and(|name| name.strip_suffix(&[0]) == Some(self.table.as_bytes()))
    }
}

const ENOBUFS: i32 = 105;
