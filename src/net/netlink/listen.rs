//! Listening to what the kernel tells everybody: groups of netlink messages. Never asks and never changes anything.

use std::io;

use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};

use super::messages;

const ENOBUFS: i32 = 105;

/// A socket that only hears.
pub struct Listener {
    socket: TokioSocket,
    /// What can no longer be heard of when listening fails.
    subject: &'static str,
}

/// Whether a message that matters came, or may have been among those that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    It,
    Perhaps,
}

impl Listener {
    /// Joins these groups of a netlink protocol in the network namespace of the calling thread.
    pub fn open(protocol: isize, groups: &[u32], subject: &'static str) -> io::Result<Self> {
        let mut socket = TokioSocket::new(protocol)?;
        socket.socket_mut().bind_auto()?;
        for group in groups {
            socket.socket_mut().add_membership(*group)?;
        }
        Ok(Self { socket, subject })
    }

    /// Waits for a message that matters, or for one that may have been missed. Cancel-safe.
    pub async fn next(&mut self, matters: impl Fn(&[u8]) -> bool) -> Heard {
        loop {
            match self.socket.recv_from_full().await {
                Ok((datagram, _)) if messages(&datagram).any(&matters) => return Heard::It,
                Ok(_) => {}
                // The kernel drops events rather than queue them without bound.
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => return Heard::Perhaps,
                Err(error) => {
                    tracing::warn!(%error, "no longer listening for {}", self.subject);
                    return std::future::pending().await;
                }
            }
        }
    }
}
