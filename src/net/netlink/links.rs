//! Requests about links and their IPv4 addresses that several parts of the network make.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec};

use super::{Netlink, errno, is};

impl Netlink {
    /// The link of this name.
    pub fn link(&mut self, name: &str) -> io::Result<Option<LinkMessage>> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.find_link(query)
    }

    /// The link that holds this address.
    pub fn link_with(&mut self, address: Ipv4Addr) -> io::Result<Option<LinkMessage>> {
        let addresses = self.addresses()?;
        let Some(holder) = addresses.iter().find(|message| local(message) == Some(address)) else { return Ok(None) };
        let mut query = LinkMessage::default();
        query.header.index = holder.header.index;
        self.find_link(query)
    }

    fn find_link(&mut self, query: LinkMessage) -> io::Result<Option<LinkMessage>> {
        match self.get(RouteNetlinkMessage::GetLink(query)) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link)),
            Err(error) if !is(&error, &[errno::ENODEV]) => Err(error),
            _ => Ok(None),
        }
    }

    /// Every link.
    pub fn links(&mut self) -> io::Result<Vec<LinkMessage>> {
        let all = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let links = all.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        Ok(links.collect())
    }

    /// Removes a link; one that is gone already (with its peer) is fine.
    pub fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let message = LinkMessageBuilder::<LinkUnspec>::new().index(index).build();
        match self.execute(RouteNetlinkMessage::DelLink(message)) {
            Err(error) if is(&error, &[errno::ENODEV]) => Ok(()),
            other => other,
        }
    }

    /// Gives the link exactly these addresses of IPv4, each alone on its network.
    pub fn set_addresses(&mut self, index: u32, addresses: &[Ipv4Addr]) -> io::Result<()> {
        let mut missing = addresses.to_vec();
        for message in self.addresses()?.into_iter().filter(|message| message.header.index == index) {
            let kept = local(&message).filter(|held| message.header.prefix_len == 32 && missing.contains(held));
            match kept {
                Some(kept) => missing.retain(|address| *address != kept),
                None => self.execute(RouteNetlinkMessage::DelAddress(message))?,
            }
        }
        for address in missing {
            let mut message = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, 32).build();
            message.header.scope = AddressScope::Universe;
            self.put(RouteNetlinkMessage::NewAddress(message))?;
        }
        Ok(())
    }

    /// Every address of IPv4.
    pub fn addresses(&mut self) -> io::Result<Vec<AddressMessage>> {
        let mut query = AddressMessage::default();
        query.header.family = AddressFamily::Inet;
        let all = self.dump(RouteNetlinkMessage::GetAddress(query))?;
        let addresses = all.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(address) => Some(address),
            _ => None,
        });
        Ok(addresses.collect())
    }
}

/// The address itself.
pub fn local(message: &AddressMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })
}

/// The link's name.
pub fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// How large packets on the link may be.
pub fn mtu(link: &LinkMessage) -> u32 {
    let mut found = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    found.next().unwrap_or_default()
}
