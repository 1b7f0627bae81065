//! Atomic transactions with the kernel's netfilter: many messages that all take effect or none. Never retries. Used by
//! `net::nft` only.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols};

use super::{HEADER, TYPE_ERROR, frame, messages, number};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const NFTABLES: u16 = 10;

/// The messages of one transaction.
#[derive(Default)]
pub struct Batch {
    messages: Vec<(u16, u16, Vec<u8>)>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&mut self, kind: u16, flags: u16, body: Vec<u8>) {
        self.messages.push((kind, flags, body));
    }
}

/// Where the kernel stopped.
#[derive(Debug)]
pub struct Refused {
    /// Which message, from one; zero is the transaction as a whole.
    pub position: usize,
    /// That message's type.
    pub kind: Option<u16>,
    pub error: io::Error,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { position: 0, kind: None, error }
    }
}

/// A socket for transactions in the network namespace of the thread that opened it.
pub struct Connection {
    socket: Socket,
    /// Runs on over all transactions, so that a late answer is not taken for one to the next of them.
    sequence: u32,
    port: u32,
}

impl Connection {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(protocols::NETLINK_NETFILTER)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0, port })
    }

    /// Our socket's number, by which events tell who caused them.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Runs the transaction and waits for the kernel's answer.
    pub fn run(&mut self, batch: Batch) -> Result<(), Refused> {
        if batch.messages.is_empty() {
            return Ok(());
        }
        let kinds: Vec<u16> = batch.messages.iter().map(|(kind, ..)| *kind).collect();
        let first = self.sequence.wrapping_add(1);
        let bytes = self.assemble(batch);
        self.make_room(bytes.len())?;
        self.socket.send(&bytes, 0)?;
        drop(bytes);
        let mut refused = None;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            for part in messages(&datagram) {
                if u16::from_ne_bytes([part[4], part[5]]) != TYPE_ERROR {
                    continue;
                }
                let position = number(part, 8).wrapping_sub(first) as usize;
                if position > kinds.len() {
                    continue;
                }
                let code = number(part, HEADER).cast_signed();
                if code != 0 && refused.is_none() {
                    let kind = position.checked_sub(1).and_then(|at| kinds.get(at)).copied();
                    refused = Some(Refused { position, kind, error: io::Error::from_raw_os_error(-code) });
                }
                // An answer to the opening message speaks for the whole; one to the last message comes last.
                if position == 0 || position == kinds.len() {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// The transaction's bytes. Only the last message asks for an answer to success: the kernel reports in order
    /// and after it has committed.
    fn assemble(&mut self, batch: Batch) -> Vec<u8> {
        let mut bytes = frame(BATCH_BEGIN, REQUEST, self.next(), &control());
        let last = batch.messages.len() - 1;
        for (n, (kind, flags, body)) in batch.messages.into_iter().enumerate() {
            let answer = if n == last { ACKNOWLEDGE } else { 0 };
            bytes.extend(frame(kind, flags | REQUEST | answer, self.next(), &body));
        }
        bytes.extend(frame(BATCH_END, REQUEST, self.next(), &control()));
        bytes
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// The whole transaction is one datagram: the socket's buffer must hold it.
    fn make_room(&self, length: usize) -> io::Result<()> {
        if rustix::net::sockopt::socket_send_buffer_size(&self.socket)? < length + 4096 {
            rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, length + 4096)?;
        }
        Ok(())
    }
}

fn control() -> [u8; 4] {
    let [high, low] = NFTABLES.to_be_bytes();
    [0, 0, high, low]
}
