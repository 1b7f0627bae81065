//! What server and agent agree on for a tunnel: the way back to a node that the server cannot reach.
//!
//! The agent asks for [`PATH`] with its own certificate and the connection is upgraded to [`PROTOCOL`]: HTTP/2 the other
//! way round, in which the server asks and the agent answers. Each stream is a CONNECT whose authority is a
//! [`Destination`]; from its 200 on it carries bytes both ways.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub const PATH: &str = "/orch/v1/tunnel";
/// What the `Upgrade` header says.
pub const PROTOCOL: &str = "orch-tunnel";

/// Streams of a tunnel at once; more wait for one to end.
pub const STREAMS: u32 = 512;
/// What may be on its way in a stream: 5 MB/s at a round trip of 50 ms.
pub const STREAM_WINDOW: u32 = 256 * 1024;
/// As much as all streams together, so that those whose reader has stalled cannot stall the others.
pub const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// A side that heard nothing for so long asks whether the other is there,
pub const PING: Duration = Duration::from_secs(15);
/// and gives up where it is not told so in time.
pub const PONG: Duration = Duration::from_secs(10);

/// What the server may ask an agent to connect it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The node's own server, wherever it listens.
    Kubelet,
    /// A port of a pod on the node.
    Pod(SocketAddr),
}

const KUBELET: &str = "kubelet";

impl Destination {
    /// Reads the authority of a CONNECT.
    pub fn parse(authority: &str) -> Option<Self> {
        match authority {
            KUBELET => Some(Self::Kubelet),
            address => address.parse().ok().map(Self::Pod),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubelet => out.write_str(KUBELET),
            Self::Pod(address) => address.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_they_are_written() {
        for text in ["kubelet", "10.42.1.5:80", "[fd00::5]:8080"] {
            assert_eq!(Destination::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "kubelet:10250", "10.42.1.5", "localhost:22", "10.42.1.5:80/x", "fd00::5:80"] {
            assert_eq!(Destination::parse(text), None, "{text}");
        }
    }
}
