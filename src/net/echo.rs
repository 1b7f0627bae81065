//! ICMP echo, as ping(8) sends it, of a given size. From the network namespace of the calling thread; needs root.
//! Called by the overlay's self-test.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

const ECHO: u8 = 8;
const REPLY: u8 = 0;
const IP_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;

/// Whether `to` answers a packet of `size` bytes, IP header included, in time.
pub fn ask(to: Ipv4Addr, size: usize, patience: Duration) -> io::Result<bool> {
    static SEQUENCE: AtomicU16 = AtomicU16::new(1);
    let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    // Whoever else pings on this machine sees our answers, and we see his.
    let identity = (std::process::id() & 0xffff) as u16;
    let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMP))?;
    let packet = request(identity, number, size.saturating_sub(IP_HEADER + ICMP_HEADER));
    match sendto(&socket, &packet, SendFlags::empty(), &SocketAddrV4::new(to, 0)) {
        // The kernel knows already that it does not get there.
        Err(
            rustix::io::Errno::MSGSIZE
            | rustix::io::Errno::HOSTUNREACH
            | rustix::io::Errno::NETUNREACH
            | rustix::io::Errno::PERM
            | rustix::io::Errno::NETDOWN,
        ) => return Ok(false),
        sent => sent?,
    };
    let deadline = Instant::now() + patience;
    let mut buffer = vec![0; 65_536];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(left.max(Duration::from_millis(1))))?;
        match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) if answers(&buffer[..length], to, identity, number) => return Ok(true),
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::HOSTUNREACH | rustix::io::Errno::NETUNREACH) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

fn request(identity: u16, number: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![ECHO, 0, 0, 0];
    packet.extend(identity.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.resize(ICMP_HEADER + payload, 0x6f);
    let sum = checksum(&packet).to_be_bytes();
    packet[2..4].copy_from_slice(&sum);
    packet
}

/// The ones' complement of the sum of all 16-bit words (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether a received packet, IP header included, is the reply to ours.
fn answers(packet: &[u8], from: Ipv4Addr, identity: u16, number: u16) -> bool {
    let Some(first) = packet.first() else { return false };
    let icmp = packet.get(usize::from(first & 0xf) * 4..).unwrap_or_default();
    let Some([REPLY, _, _, _, rest @ ..]) = icmp.first_chunk::<ICMP_HEADER>() else { return false };
    let [i, d, n, o] = *rest;
    packet.get(12..16) == Some(&from.octets())
        && u16::from_be_bytes([i, d]) == identity
        && u16::from_be_bytes([n, o]) == number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reply_to_ours_counts() {
        let from = Ipv4Addr::new(10, 42, 1, 0);
        let mut reply = vec![0x45; 1];
        reply.resize(12, 0);
        reply.extend(from.octets());
        reply.extend([0; 4]);
        let mut echo = request(7, 9, 56);
        assert_eq!((echo.len(), checksum(&echo)), (64, 0), "a sum over its own complement is nothing");
        let mut whole = reply.clone();
        whole.extend(&echo);
        assert!(!answers(&whole, from, 7, 9), "our own question");
        echo[0] = REPLY;
        reply.extend(&echo);
        assert!(answers(&reply, from, 7, 9));
        assert!(!answers(&reply, from, 8, 9) && !answers(&reply, from, 7, 8));
        assert!(!answers(&reply, Ipv4Addr::new(10, 42, 2, 0), 7, 9));
        assert!(!answers(&reply[..25], from, 7, 9) && !answers(&[], from, 7, 9));
    }
}
