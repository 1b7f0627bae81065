//! Blocking netlink requests to the kernel, which answers at once: a socket belongs to the network
//! namespace of the thread that opened it, so one thread can speak for two namespaces. Never retries
//! and never interprets; called by the apply files of net.

pub mod attributes;
pub mod batch;
pub mod links;
pub mod listen;

use std::io;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols};

/// Linux `errno`s that callers treat as success for an idempotent request.
pub mod errno {
    pub const ESRCH: i32 = 3;
    pub const ENOENT: i32 = 2;
    pub const EEXIST: i32 = 17;
    pub const ENODEV: i32 = 19;
    pub const EOPNOTSUPP: i32 = 95;
}

pub(crate) const HEADER: usize = 16;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;

/// One netlink socket.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// A socket for links, addresses, routes and neighbours of the calling thread's network namespace.
    pub fn route() -> io::Result<Self> {
        Self::open(protocols::NETLINK_ROUTE)
    }

    /// A socket for nftables and connection tracking of the calling thread's network namespace.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(protocols::NETLINK_NETFILTER)
    }

    /// A socket for the kernel's smaller families, such as ethtool's.
    pub fn generic() -> io::Result<Self> {
        Self::open(protocols::NETLINK_GENERIC)
    }

    fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Creates the thing the message describes, or changes it to be like that.
    pub fn put(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.route_request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    /// Creates the thing; an error if it exists.
    pub fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.route_request(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Changes or deletes, as the message's own type says.
    pub fn execute(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.route_request(message, NLM_F_ACK).map(drop)
    }

    /// Reads one thing.
    pub fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        Ok(self.route_request(message, NLM_F_ACK)?.into_iter().next())
    }

    /// Reads all things of the message's type.
    pub fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.route_request(message, NLM_F_DUMP)
    }

    fn route_request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut request = NetlinkMessage::from(message);
        request.finalize();
        let mut buffer = vec![0; request.buffer_len()];
        request.serialize(&mut buffer);
        let answers = self.request(request.header.message_type, flags, &buffer[HEADER..])?;
        answers
            .iter()
            .map(|answer| match NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer).map(|m| m.payload) {
                Ok(NetlinkPayload::InnerMessage(inner)) => Ok(inner),
                Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "netlink: unexpected control message")),
                Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            })
            .collect()
    }

    /// Sends one message and collects whole answer messages (header included) until the kernel has
    /// acknowledged it or ended the dump.
    pub fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = frame(kind, flags | NLM_F_REQUEST, self.sequence, body);
        self.socket.send(&message, 0)?;
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for part in messages(&datagram) {
                if number(part, 8) != self.sequence {
                    continue;
                }
                match self::kind(part) {
                    TYPE_DONE => return Ok(answers),
                    TYPE_ERROR => {
                        let code = number(part, HEADER).cast_signed();
                        return if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => answers.push(part.to_vec()),
                }
            }
        }
    }
}

/// A netlink message: header and body, padded to four bytes.
pub fn frame(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER + body.len() + 3);
    message.extend_from_slice(&u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&0u32.to_ne_bytes());
    message.extend_from_slice(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// The messages of a datagram; a truncated tail is dropped.
pub(crate) fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.len() < HEADER + 4 {
            return None;
        }
        let length = number(rest, 0) as usize;
        if length < HEADER || length > rest.len() {
            return None;
        }
        let (message, _) = rest.split_at(length);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
    .filter(|message| message.len() >= HEADER + 4)
}

/// What a message is of.
pub(crate) fn kind(message: &[u8]) -> u16 {
    u16::from_ne_bytes([message[4], message[5]])
}

/// A native-endian number in a message; zero beyond its end.
pub(crate) fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

/// Whether an error is one of these `errno`s: how an idempotent caller forgives.
pub fn is(error: &io::Error, codes: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_into_its_messages() {
        let mut datagram = frame(20, 0, 7, &[1, 2, 3, 4, 5]);
        datagram.extend(frame(TYPE_DONE, 0, 7, &[0; 4]));
        let parts: Vec<_> = messages(&datagram).collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(&parts[0][HEADER..], &[1, 2, 3, 4, 5]);
        assert_eq!(number(parts[1], 8), 7);
        assert_eq!(messages(&datagram[..datagram.len() - 1]).count(), 1, "a truncated message is not read");
    }
}
