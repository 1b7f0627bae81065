//! Who listens where, from /proc. Whose a socket is can only root see.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::observed::Listener;

const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// Every listening TCP socket and every UDP socket that takes packets from anybody.
pub fn listeners() -> Vec<Listener> {
    let mut found = Vec::new();
    for (file, udp) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        let table = fs::read_to_string(format!("/proc/net/{file}")).unwrap_or_default();
        found.extend(table.lines().skip(1).filter_map(|line| Some((udp, socket(line, udp)?))));
    }
    let owners = owners();
    let listener = |(udp, (address, inode)): (bool, (SocketAddr, u64))| Listener {
        udp,
        address,
        process: owners.get(&inode).cloned(),
    };
    found.into_iter().map(listener).collect()
}

/// One line of such a table: the local address and the socket's inode.
fn socket(line: &str, udp: bool) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let state = if udp { UDP_UNCONNECTED } else { TCP_LISTEN };
    if *fields.get(3)? != state {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(address_of(address)?, port), fields.get(9)?.parse().ok()?))
}

/// Words of four bytes in the machine's own order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let words = (0..hex.len() / 8).map(|at| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    if let Ok(four) = <[u8; 4]>::try_from(&bytes[..]) {
        return Some(Ipv4Addr::from(four).into());
    }
    <[u8; 16]>::try_from(&bytes[..]).ok().map(|sixteen| Ipv6Addr::from(sixteen).into())
}

/// `<program> (pid <number>)` by the inodes of its sockets.
fn owners() -> HashMap<u64, String> {
    let mut owners = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.insert(inode, format!("{} (pid {pid})", name.trim()));
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let line = |local: &str, state: &str| {
            format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  0  0 4242 1 0000 100")
        };
        let local = |address: Ipv4Addr| format!("{:08X}:192B", u32::from_ne_bytes(address.octets()));
        let at = |text: &str| Some((text.parse().unwrap(), 4242));
        assert_eq!(socket(&line(&local([127, 0, 0, 1].into()), "0A"), false), at("127.0.0.1:6443"));
        assert_eq!(socket(&line(&local([127, 0, 0, 1].into()), "01"), false), None, "connected");
        assert_eq!(socket(&line(&local(Ipv4Addr::UNSPECIFIED), "07"), true), at("0.0.0.0:6443"));
        assert_eq!(socket(&line("00000000000000000000000000000000:0035", "0A"), false), at("[::]:53"));
        assert_eq!(socket("nonsense", false), None);
    }

    #[test]
    fn our_own_socket_is_found_with_its_owner() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = listeners().into_iter().find(|it| !it.udp && it.address == address).expect("it listens");
        let own = format!("(pid {})", std::process::id());
        assert!(found.process.as_ref().is_some_and(|process| process.ends_with(&own)), "{found:?}");
    }
}
