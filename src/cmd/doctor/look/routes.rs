//! The networks that this machine reaches by itself: what the cluster's ranges must not meet.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::cmd::teardown::PREFIX;
use crate::net::overlay::kernel::Kernel;

/// Routes that are not the overlay's and not over links of ours.
pub fn foreign() -> Vec<(Ipv4Net, String)> {
    let ours = Kernel::open().and_then(|mut kernel| kernel.observe(None)).unwrap_or_default().routes;
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let all = table.lines().skip(1).filter_map(route);
    all.filter(|(to, link)| !ours.contains_key(to) && !link.starts_with(PREFIX)).collect()
}

/// A line of /proc/net/route: the link, then the network and its mask as numbers in the machine's order.
fn route(line: &str) -> Option<(Ipv4Net, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| {
        let number = u32::from_str_radix(fields.get(at)?, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let network = Ipv4Net::with_netmask(address(1)?, address(7)?).ok()?;
    Some((network, (*fields.first()?).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let number = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let (to, mask) = (number([10, 42, 0, 0]), number([255, 255, 0, 0]));
        let line = format!("eth0\t{to}\t00000000\t0001\t0\t0\t100\t{mask}\t0\t0\t0");
        assert_eq!(route(&line), Some(("10.42.0.0/16".parse().unwrap(), "eth0".to_owned())));
        assert_eq!(route("eth0\tnonsense"), None);
    }
}
