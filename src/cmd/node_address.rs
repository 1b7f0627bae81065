//! What this machine calls itself when no flag says otherwise. Sends no packet.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use futures::TryStreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressScope};

/// The machine's hostname in lower case, as a Node name wants it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// The address that a packet to the outside would carry; without a default route the first global
/// address of any link. `None` where the machine has only loopback.
pub async fn node_ip() -> Option<IpAddr> {
    match default_route_source() {
        Some(address) => Some(address),
        None => first_global().await.map(IpAddr::V4),
    }
}

/// Connecting a UDP socket only looks up a route (to a documentation address, RFC 5737).
fn default_route_source() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

async fn first_global() -> Option<Ipv4Addr> {
    let (connection, handle, _) = rtnetlink::new_connection().ok()?;
    let task = tokio::spawn(connection);
    let messages: Vec<_> = handle.address().get().execute().try_collect().await.ok()?;
    task.abort();
    messages.into_iter().filter(|message| message.header.scope == AddressScope::Universe).find_map(|message| {
        message.attributes.into_iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(address)) if !address.is_loopback() => Some(address),
            _ => None,
        })
    })
}
