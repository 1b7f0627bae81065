//! UDP, which has no end of a connection, and SCTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use orch::lifecycle::Component;
use orch::net::netns;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde_json::{Value, json};

use super::{IP, NODE, node, ready};
use crate::support::{Pod, eventually, on_host};

/// A server in the pod that answers every datagram with its word.
async fn echo(pod: &Pod, word: &'static str) {
    let socket = netns::run_in(&pod.netns, || UdpSocket::bind("0.0.0.0:5353")).await.unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(word.as_bytes(), peer);
        }
    });
}

/// One socket for everything that is sent: the kernel remembers where it was led.
struct Sender(UdpSocket);

impl Sender {
    async fn connect(pod: &Pod, to: impl Into<SocketAddr>) -> Self {
        let to = to.into();
        let socket = netns::run_in(&pod.netns, || UdpSocket::bind("0.0.0.0:0")).await.unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self(socket)
    }

    /// The answer to a datagram; the error of one that was refused.
    fn exchange(&self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; 8];
        self.0.send(b"?")?;
        self.0.recv(&mut buffer).map(|length| buffer[..length].to_vec())
    }
}

fn answers(word: &'static str) -> impl Fn(&io::Result<Vec<u8>>) -> bool {
    move |answer| answer.as_ref().is_ok_and(|bytes| bytes == word.as_bytes())
}

fn refused(answer: &io::Result<Vec<u8>>) -> bool {
    answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn dns() -> Value {
    let port = json!({"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053});
    json!({"clusterIP": "10.43.0.5", "ports": [port]})
}

fn ports() -> Value {
    json!([{"name": "dns", "port": 5353, "protocol": "UDP"}])
}

#[test]
fn a_udp_client_that_keeps_sending_follows_the_endpoints_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let client = node.host.pod("client", [10, 42, 0, 99]).await;
        let (a, b) = (node.host.pod("a", [10, 42, 0, 2]).await, node.host.pod("b", [10, 42, 0, 3]).await);
        echo(&a, "a").await;
        echo(&b, "b").await;
        let inside = Sender::connect(&client, (IP, 53)).await;
        let outside = Sender::connect(&node.outside, (NODE, 30053)).await;
        // Before the Service is there: the kernel remembers that it led these nowhere.
        let _ = (inside.exchange(), outside.exchange());
        node.api.service("dns", dns());
        drop(eventually(async || inside.exchange(), refused).await);
        drop(eventually(async || outside.exchange(), refused).await);
        for (pod, word) in [(&a, "a"), (&b, "b"), (&a, "a")] {
            node.api.endpoints("dns", ports(), ready(&[pod]));
            drop(eventually(async || inside.exchange(), answers(word)).await);
            drop(eventually(async || outside.exchange(), answers(word)).await);
        }
        // One that terminates serves whom it serves, though new clients go elsewhere.
        let leaving = |serving| {
            let conditions = json!({"ready": false, "serving": serving, "terminating": true});
            json!([
                {"addresses": [a.address], "nodeName": "here", "conditions": conditions},
                {"addresses": [b.address], "nodeName": "here"},
            ])
        };
        node.api.endpoints("dns", ports(), leaving(true));
        let fresh = async || Sender::connect(&client, (IP, 53)).await.exchange();
        drop(eventually(fresh, answers("b")).await);
        assert_eq!(inside.exchange().unwrap(), b"a");
        node.api.endpoints("dns", ports(), leaving(false));
        drop(eventually(async || inside.exchange(), answers("b")).await);
        node.api.endpoints("dns", ports(), json!([]));
        drop(eventually(async || inside.exchange(), refused).await);
        node.proxy.stop().await;
    });
}

/// Sends and receives whole SCTP packets: so the test needs no SCTP of the kernel's but its connection tracking.
async fn raw(pod: &Pod, protocol: u32) -> OwnedFd {
    netns::run_in(&pod.netns, move || {
        let protocol = rustix::net::Protocol::from_raw(protocol.try_into().unwrap());
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
        let patience = Some(Duration::from_millis(200));
        rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Recv, patience)?;
        Ok(socket)
    })
    .await
    .unwrap()
}

const SCTP: u32 = 132;
const ICMP: u32 = 1;

/// A packet that opens an association (RFC 9260, INIT).
fn init(from: u16, to: u16) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 20]);
    for number in [7u32, 0x1_0000, 0x000a_000a, 1] {
        packet.extend(number.to_be_bytes());
    }
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum: u32, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}

/// What follows the IP header of the next packet.
fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = [0; 512];
    let (_, length) = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()).ok()?;
    Some(buffer[usize::from(buffer[0] & 15) * 4..length].to_vec())
}

#[test]
fn sctp_is_led_to_endpoints_and_refused_without_needs_root() {
    on_host(|host| async move {
        let mut node = node(host).await;
        let (a, client) = (node.host.pod("a", [10, 42, 0, 2]).await, node.host.pod("client", [10, 42, 0, 4]).await);
        let port = json!({"name": "sig", "port": 3868, "protocol": "SCTP"});
        node.api.service("sig", json!({"clusterIP": "10.43.0.5", "ports": [port]}));
        let (server, sender, errors) = (raw(&a, SCTP).await, raw(&client, SCTP).await, raw(&client, ICMP).await);
        let to = SocketAddr::from((Ipv4Addr::from(IP), 0));
        let send = |port| rustix::net::sendto(&sender, &init(port, 3868), SendFlags::empty(), &to).unwrap();
        let refused = async || {
            send(4000);
            receive(&errors)
        };
        const PORT_UNREACHABLE: [u8; 2] = [3, 3];
        eventually(refused, |icmp| icmp.as_ref().is_some_and(|icmp| icmp.starts_with(&PORT_UNREACHABLE))).await;
        node.api.endpoints("sig", json!([{"name": "sig", "port": 13868, "protocol": "SCTP"}]), ready(&[&a]));
        let mut from = 4000;
        let arrives = async || {
            from += 1;
            send(from);
            receive(&server)
        };
        let packet = eventually(arrives, Option::is_some).await.unwrap();
        assert_eq!(packet[2..4], 13868u16.to_be_bytes(), "to the endpoint's port");
        let mut plain = packet.clone();
        plain[8..12].fill(0);
        assert_eq!(packet[8..12], crc32c(&plain).to_le_bytes(), "with the right checksum");
        node.proxy.stop().await;
    });
}
