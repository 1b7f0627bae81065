//! The overlay in the kernel: looks at what is there and carries out the steps. In the network namespace of
//! the calling thread. Never decides what should be.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rtnetlink::packet_route::link::{InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVxlan, RouteMessageBuilder};

use super::{Hop, Mac, OVERHEAD, PORT, Paths, Step, VNI, offload};
use crate::net::netlink::links::mtu;
use crate::net::netlink::{self, Netlink, errno};

/// Marks our routes ("o"): `ip route show proto 111` lists them.
pub const PROTOCOL: u8 = 111;

/// This node's end of the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub mac: Mac,
    /// The node's own address, from which the wire follows.
    pub node_ip: Ipv4Addr,
    /// The first address of the node's pod range, which packets of the node itself carry into the overlay.
    pub address: Ipv4Addr,
}

/// The wire that holds the node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    pub index: u32,
    pub mtu: u32,
}

/// A conversation with the kernel.
pub struct Kernel {
    socket: Netlink,
}

impl Kernel {
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Netlink::route()? })
    }

    /// The link that holds the address.
    pub fn wire(&mut self, address: Ipv4Addr) -> io::Result<Option<Wire>> {
        let link = self.socket.link_with(address)?;
        Ok(link.map(|link| Wire { index: link.header.index, mtu: mtu(&link) }))
    }

    /// Makes the VXLAN link be as it should, and gives its index. One that cannot be changed into that is made anew.
    pub fn ensure(&mut self, device: &Device, wire: Wire) -> io::Result<u32> {
        let wanted = wire.mtu.saturating_sub(OVERHEAD);
        if let Some(link) = self.socket.link(&device.name)?
            && !fits(&link, device, wire)
        {
            self.socket.delete_link(link.header.index)?;
        }
        let link = match self.socket.link(&device.name)? {
            Some(link) => link,
            None => self.create(device, wire)?,
        };
        let index = link.header.index;
        if mtu(&link) != wanted || !link.header.flags.contains(LinkFlags::Up) {
            let change = LinkMessageBuilder::<LinkUnspec>::new().index(index).mtu(wanted).up().build();
            self.socket.execute(RouteNetlinkMessage::SetLink(change))?;
        }
        self.socket.set_addresses(index, &[device.address])?;
        Ok(index)
    }

    fn create(&mut self, device: &Device, wire: Wire) -> io::Result<LinkMessage> {
        let message = LinkMessageBuilder::<LinkVxlan>::new(&device.name)
            .id(VNI)
            .dev(wire.index)
            .local(device.node_ip)
            .port(PORT)
            .learning(false)
            .address(device.mac.0.to_vec())
            .mtu(wire.mtu.saturating_sub(OVERHEAD))
            .build();
        self.socket.create(RouteNetlinkMessage::NewLink(message)).map_err(|error| {
            let hint = if netlink::is(&error, &[errno::EOPNOTSUPP]) { " (modprobe vxlan)" } else { "" };
            io::Error::new(error.kind(), format!("create the VXLAN link {}: {error}{hint}", device.name))
        })?;
        // Some network cards' drivers compute wrong checksums inside of VXLAN; flannel does the same.
        if let Err(error) = offload::disable(&device.name) {
            tracing::debug!(%error, link = device.name, "checksum offload stays as it is");
        }
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the new VXLAN link has vanished");
        self.socket.link(&device.name)?.ok_or_else(gone)
    }

    /// The index of the link, where it exists.
    pub fn index(&mut self, name: &str) -> io::Result<Option<u32>> {
        Ok(self.socket.link(name)?.map(|link| link.header.index))
    }

    /// What there is of ours: every route of our protocol, and the permanent entries of the VXLAN link.
    pub fn observe(&mut self, link: Option<u32>) -> io::Result<Paths> {
        let mut paths = Paths::default();
        let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
        for message in self.socket.dump(RouteNetlinkMessage::GetRoute(query))? {
            let RouteNetlinkMessage::NewRoute(route) = message else { continue };
            paths.routes.extend(our_route(&route));
        }
        let Some(link) = link else { return Ok(paths) };
        for family in [AddressFamily::Inet, AddressFamily::Bridge] {
            let mut query = NeighbourMessage::default();
            query.header.family = family;
            for message in self.socket.dump(RouteNetlinkMessage::GetNeighbour(query))? {
                let RouteNetlinkMessage::NewNeighbour(entry) = message else { continue };
                if entry.header.ifindex == link && entry.header.state == NeighbourState::Permanent {
                    note(&mut paths, &entry);
                }
            }
        }
        Ok(paths)
    }

    /// One step. Dropping what is gone already is fine.
    pub fn apply(&mut self, step: &Step, link: u32) -> io::Result<()> {
        let message = message(step, link);
        let result = match step {
            Step::DropRoute(_) | Step::DropNeighbour(_) | Step::DropForwarding(..) => self.socket.execute(message),
            Step::Forward(..) | Step::Neighbour(..) | Step::Route(..) => self.socket.put(message),
        };
        let forgiven = [errno::ESRCH, errno::ENOENT, errno::ENODEV];
        match result {
            Err(error) if netlink::is(&error, &forgiven) && drops(step) => Ok(()),
            other => other.map_err(|error| io::Error::new(error.kind(), format!("{step:?}: {error}"))),
        }
    }
}

/// The pod ranges to which routes of ours lead, by whatever link.
pub fn routes() -> io::Result<Vec<Ipv4Net>> {
    Ok(Kernel::open()?.observe(None)?.routes.into_keys().collect())
}

/// Removes our route to a pod range.
pub fn remove_route(range: Ipv4Net) -> io::Result<()> {
    Kernel::open()?.apply(&Step::DropRoute(range), 0)
}

fn drops(step: &Step) -> bool {
    matches!(step, Step::DropRoute(_) | Step::DropNeighbour(_) | Step::DropForwarding(..))
}

/// Whether an existing link is the one wanted, in everything that cannot be changed.
fn fits(link: &LinkMessage, device: &Device, wire: Wire) -> bool {
    let mac = link.attributes.iter().any(|a| matches!(a, LinkAttribute::Address(mac) if *mac == device.mac.0));
    let info = link.attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.as_slice(),
        _ => &[],
    });
    let mut vxlan = info.filter_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(vxlan)) => Some(vxlan),
        _ => None,
    });
    let wanted = [
        InfoVxlan::Id(VNI),
        InfoVxlan::Link(wire.index),
        InfoVxlan::Local(device.node_ip),
        InfoVxlan::Port(PORT),
        InfoVxlan::Learning(false),
    ];
    mac && vxlan.next().is_some_and(|found| wanted.iter().all(|wanted| found.contains(wanted)))
}

fn our_route(route: &RouteMessage) -> Option<(Ipv4Net, Hop)> {
    if route.header.protocol != RouteProtocol::Other(PROTOCOL) {
        return None;
    }
    let (mut to, mut gateway, mut link) = (None, None, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(*address),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    let range = Ipv4Net::new(to?, route.header.destination_prefix_length).ok()?;
    // Without a gateway it is not what we laid: it stays visible as one that leads elsewhere.
    Some((range, Hop { gateway: gateway.unwrap_or(Ipv4Addr::UNSPECIFIED), link: link? }))
}

fn note(paths: &mut Paths, entry: &NeighbourMessage) {
    let (mut address, mut mac) = (None, None);
    for attribute in &entry.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => address = Some(*found),
            // The FDB is of no family that the library knows addresses of.
            NeighbourAttribute::Destination(NeighbourAddress::Other(found)) => {
                address = <[u8; 4]>::try_from(found.as_slice()).ok().map(Ipv4Addr::from);
            }
            NeighbourAttribute::LinkLayerAddress(found) => mac = found.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    let (Some(address), Some(mac)) = (address, mac) else { return };
    match entry.header.family {
        AddressFamily::Inet => drop(paths.neighbours.insert(address, mac)),
        _ => drop(paths.forwarding.insert(mac, address)),
    }
}

fn message(step: &Step, link: u32) -> RouteNetlinkMessage {
    match step {
        Step::Route(range, hop) => {
            // The gateway is on no network of the link's; it is there all the same.
            let route = ours(*range).gateway(hop.gateway).output_interface(hop.link).onlink();
            RouteNetlinkMessage::NewRoute(route.build())
        }
        Step::DropRoute(range) => RouteNetlinkMessage::DelRoute(ours(*range).build()),
        Step::Neighbour(address, mac) => RouteNetlinkMessage::NewNeighbour(arp(link, *address, Some(*mac))),
        Step::DropNeighbour(address) => RouteNetlinkMessage::DelNeighbour(arp(link, *address, None)),
        Step::Forward(mac, node) => RouteNetlinkMessage::NewNeighbour(fdb(link, *mac, *node)),
        Step::DropForwarding(mac, node) => RouteNetlinkMessage::DelNeighbour(fdb(link, *mac, *node)),
    }
}

fn ours(range: Ipv4Net) -> RouteMessageBuilder<Ipv4Addr> {
    let route = RouteMessageBuilder::<Ipv4Addr>::new();
    route.destination_prefix(range.network(), range.prefix_len()).protocol(RouteProtocol::Other(PROTOCOL))
}

fn arp(link: u32, address: Ipv4Addr, mac: Option<Mac>) -> NeighbourMessage {
    let mut entry = NeighbourMessage::default();
    entry.header.family = AddressFamily::Inet;
    entry.header.ifindex = link;
    entry.header.state = NeighbourState::Permanent;
    entry.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    entry.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())));
    entry
}

fn fdb(link: u32, mac: Mac, node: Ipv4Addr) -> NeighbourMessage {
    let mut entry = arp(link, node, Some(mac));
    entry.header.family = AddressFamily::Bridge;
    entry.header.flags = NeighbourFlags::Own;
    entry
}
