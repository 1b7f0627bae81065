//! A pod's cable: a veth pair whose pod side is `eth0` with a /32 and a link-local gateway, and whose host
//! side carries a route to just that pod. There is no bridge, so every packet is forwarded and sees the
//! node's rules. Never chooses addresses or names. Called by the kubelet.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::net::netlink::Netlink;
use crate::net::{netns, sysctl};

/// The next hop of every pod. It exists nowhere: a permanent neighbour entry leads to the host's side.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The pod's device, as programs in containers expect it.
pub const POD_DEVICE: &str = "eth0";

/// The address of every host's side: the neighbour is alone on its wire. It is chosen here because udev gives links
/// whose address the kernel chose another one a moment later, and nobody would hear of that in the pod.
const HOST_MAC: [u8; 6] = [0xee; 6];

/// What a pod's cable shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLink {
    /// The pinned network namespace of the pod.
    pub netns: PathBuf,
    /// The device on the host, at most 15 bytes.
    pub host_name: String,
    pub address: Ipv4Addr,
    pub mtu: u32,
    /// The host's loopback reaches the pod: for pods with host ports.
    pub route_loopback: bool,
}

/// Makes the cable so; what is already right stays. A cable to another namespace under the same name is replaced.
///
/// # Errors
/// Those of the kernel, with the step that failed.
pub async fn attach(link: &PodLink) -> io::Result<()> {
    let link = link.clone();
    let mut host = Netlink::route()?;
    netns::run_in(&link.netns.clone(), {
        let link = link.clone();
        move || {
            let mut pod = Netlink::route()?;
            let (outer, inner) = connect(&mut host, &mut pod, &link)?;
            configure_pod(&mut pod, &link, &inner, &outer).map_err(step("pod side"))?;
            configure_host(&mut host, &link, &outer, &inner).map_err(step("host side"))
        }
    })
    .await
    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", link.host_name)))?;
    // These belong to the host's namespace, which the thread above has left.
    let conf = |key: &str| format!("net/ipv4/conf/{}/{key}", link.host_name);
    sysctl::set(&conf("forwarding"), "1")?;
    sysctl::set(&conf("route_localnet"), if link.route_loopback { "1" } else { "0" })?;
    // A pod can only send from its own address.
    sysctl::set(&conf("rp_filter"), "1")
}

/// Removes the cable, both ends and the route; a missing one is fine.
pub async fn detach(host_name: &str) -> io::Result<()> {
    let mut host = Netlink::route()?;
    let Some(end) = observe(&mut host, host_name)? else { return Ok(()) };
    host.delete_link(end.index)
}

/// One end of a cable as the kernel has it.
#[derive(Debug)]
struct End {
    index: u32,
    mac: Vec<u8>,
    mtu: u32,
    up: bool,
    /// The index of the other end, in the other end's namespace.
    peer: Option<u32>,
}

fn connect(host: &mut Netlink, pod: &mut Netlink, link: &PodLink) -> io::Result<(End, End)> {
    match (observe(host, &link.host_name)?, observe(pod, POD_DEVICE)?) {
        (Some(outer), Some(inner)) if outer.peer == Some(inner.index) && inner.peer == Some(outer.index) => {
            return Ok((outer, inner));
        }
        (outer, inner) => {
            if let Some(outer) = outer {
                host.delete_link(outer.index)?;
            }
            if let Some(inner) = inner {
                pod.delete_link(inner.index)?;
            }
        }
    }
    let namespace = File::open(&link.netns)?;
    let inner = LinkMessageBuilder::<LinkUnspec>::new()
        .name(POD_DEVICE)
        .mtu(link.mtu)
        .setns_by_fd(namespace.as_raw_fd())
        .build();
    let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(link.host_name.as_str())
        .address(HOST_MAC.to_vec())
        .mtu(link.mtu)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
        .build();
    host.create(RouteNetlinkMessage::NewLink(pair)).map_err(step("create the veth pair"))?;
    let gone = || io::Error::new(io::ErrorKind::NotFound, "the new veth pair has vanished");
    let outer = observe(host, &link.host_name)?.ok_or_else(gone)?;
    let inner = observe(pod, POD_DEVICE)?.ok_or_else(gone)?;
    Ok((outer, inner))
}

fn configure_pod(pod: &mut Netlink, link: &PodLink, inner: &End, outer: &End) -> io::Result<()> {
    pod.set_addresses(inner.index, &[link.address])?;
    bring_up(pod, inner, link.mtu)?;
    pod.put(RouteNetlinkMessage::NewNeighbour(permanent(inner.index, GATEWAY, &outer.mac)))?;
    pod.put(RouteNetlinkMessage::NewRoute(to_device(GATEWAY, inner.index)))?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY).output_interface(inner.index).build();
    pod.put(RouteNetlinkMessage::NewRoute(default))
}

fn configure_host(host: &mut Netlink, link: &PodLink, outer: &End, inner: &End) -> io::Result<()> {
    bring_up(host, outer, link.mtu)?;
    host.put(RouteNetlinkMessage::NewNeighbour(permanent(outer.index, link.address, &inner.mac)))?;
    host.put(RouteNetlinkMessage::NewRoute(to_device(link.address, outer.index)))
}

fn bring_up(socket: &mut Netlink, end: &End, mtu: u32) -> io::Result<()> {
    if end.up && end.mtu == mtu {
        return Ok(());
    }
    let link = LinkMessageBuilder::<LinkUnspec>::new().index(end.index).mtu(mtu).up().build();
    socket.execute(RouteNetlinkMessage::SetLink(link))
}

/// No ARP in either direction: both ends know the other's MAC address.
fn permanent(index: u32, address: Ipv4Addr, mac: &[u8]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    message
}

fn to_device(address: Ipv4Addr, index: u32) -> RouteMessage {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(address, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build()
}

fn observe(socket: &mut Netlink, name: &str) -> io::Result<Option<End>> {
    let Some(message) = socket.link(name)? else { return Ok(None) };
    let mut end = End {
        index: message.header.index,
        mac: Vec::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        peer: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::Address(mac) => end.mac = mac,
            LinkAttribute::Mtu(mtu) => end.mtu = mtu,
            LinkAttribute::Link(peer) => end.peer = Some(peer),
            _ => {}
        }
    }
    Ok(Some(end))
}

fn step(what: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}
