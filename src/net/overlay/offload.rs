//! Turns transmit checksum offload of a link off, by ethtool's netlink face: on some kernels and cards, packets inside
//! of VXLAN leave with wrong checksums otherwise and are dropped far away.

use std::io;

use crate::net::netlink::attributes::{self, Writer};
use crate::net::netlink::{HEADER, Netlink};

/// `genl_ctrl`, its request for a family by name, and what both carry.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// The header that every generic message has behind netlink's.
const GENERIC: usize = 4;

/// `ETHTOOL_MSG_FEATURES_SET` and its attributes (linux/ethtool_netlink.h).
const FEATURES_SET: u8 = 12;
const REQUEST_HEADER: u16 = 1;
const DEVICE_NAME: u16 = 2;
const WANTED: u16 = 3;
const BITS: u16 = 3;
const BIT: u16 = 1;
const BIT_NAME: u16 = 2;

const ACKNOWLEDGE: u16 = 4;

/// Once is enough: the setting lives as long as the link.
pub fn disable(link: &str) -> io::Result<()> {
    let mut socket = Netlink::generic()?;
    let family = family(&mut socket)?;
    let mut body = Writer::generic(FEATURES_SET);
    body.nest(REQUEST_HEADER, |header| {
        header.string(DEVICE_NAME, link);
    });
    // A bit that is named without a value is to be off; the others stay.
    body.nest(WANTED, |set| {
        set.nest(BITS, |bits| {
            bits.nest(BIT, |bit| {
                bit.string(BIT_NAME, "tx-checksum-ip-generic");
            });
        });
    });
    socket.request(family, ACKNOWLEDGE, &body.into_bytes()).map(drop)
}

fn family(socket: &mut Netlink) -> io::Result<u16> {
    let mut body = Writer::generic(GET_FAMILY);
    body.string(FAMILY_NAME, "ethtool");
    let answers = socket.request(CONTROL, ACKNOWLEDGE, &body.into_bytes())?;
    let id = answers.first().and_then(|answer| attributes::find(answer.get(HEADER + GENERIC..)?, FAMILY_ID));
    let id = id.and_then(|id| Some(u16::from_ne_bytes(id.get(..2)?.try_into().ok()?)));
    id.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the kernel has no ethtool netlink"))
}
