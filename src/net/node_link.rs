//! Links of the node itself that carry no wire: they hold addresses that the agent serves, or routes that let the
//! host send at all. Called by the service proxy and DNS; never touches links of other names.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{LinkBridge, LinkDummy, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

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
    let link = match socket.link(name)? {
        Some(link) => link,
        None => {
            create(&mut socket, name)?;
            let gone = || io::Error::new(io::ErrorKind::NotFound, "the new link has vanished");
            socket.link(name)?.ok_or_else(gone)?
        }
    };
    let index = link.header.index;
    socket.execute(RouteNetlinkMessage::SetLink(LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build()))?;
    socket.set_addresses(index, addresses)?;
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
