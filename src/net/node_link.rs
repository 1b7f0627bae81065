//! Links of the node itself that carry no wire: they hold addresses that the agent serves, or routes that let the
//! host send at all. Called by the service proxy and DNS; never touches links of other names.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use crate::net::netlink::{self, Netlink, errno};

/// A route over such a link and the address that the host uses with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: Ipv4Net,
    pub source: Ipv4Addr,
}

/// Makes a link without a wire that is up, holds these addresses (and no others of IPv4) and carries these routes.
pub fn ensure(name: &str, addresses: &[Ipv4Addr], routes: &[Route]) -> io::Result<()> {
    let mut socket = Netlink::route()?;
    let index = match netlink::index_of(&mut socket, name)? {
        Some(index) => index,
        None => {
            create(&mut socket, name)?;
            netlink::index_of(&mut socket, name)?
                .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the new link has vanished"))?
        }
    };
    socket.execute(RouteNetlinkMessage::SetLink(LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build()))?;
    let mut query = AddressMessage::default();
    query.header.family = AddressFamily::Inet;
    for message in socket.dump(RouteNetlinkMessage::GetAddress(query))? {
        let RouteNetlinkMessage::NewAddress(message) = message else { continue };
        let keep = message.attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Local(IpAddr::V4(address)) if addresses.contains(address))
        });
        if message.header.index == index && !keep {
            socket.execute(RouteNetlinkMessage::DelAddress(message))?;
        }
    }
    for address in addresses {
        let message = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(*address, 32).build();
        socket.put(RouteNetlinkMessage::NewAddress(message))?;
    }
    for route in routes {
        let message = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(route.to.network(), route.to.prefix_len())
            .output_interface(index)
            .scope(RouteScope::Link)
            .pref_source(route.source)
            .build();
        socket.put(RouteNetlinkMessage::NewRoute(message))?;
    }
    Ok(())
}

/// A dummy device, or, on kernels built without those, a bridge that nobody is plugged into.
fn create(socket: &mut Netlink, name: &str) -> io::Result<()> {
    match socket.create(RouteNetlinkMessage::NewLink(LinkDummy::new(name).build())) {
        Err(error) if netlink::is(&error, &[errno::EOPNOTSUPP]) => {
            socket.create(RouteNetlinkMessage::NewLink(LinkBridge::new(name).arp(false).build()))
        }
        other => other,
    }
}

/// Removes the link with its addresses and routes; a missing one is fine.
pub fn remove(name: &str) -> io::Result<()> {
    let mut socket = Netlink::route()?;
    let Some(index) = netlink::index_of(&mut socket, name)? else { return Ok(()) };
    let message = LinkMessageBuilder::<LinkUnspec>::new().index(index).build();
    match socket.execute(RouteNetlinkMessage::DelLink(message)) {
        Err(error) if netlink::is(&error, &[errno::ENODEV]) => Ok(()),
        other => other,
    }
}
