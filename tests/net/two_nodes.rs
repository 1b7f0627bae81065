//! Two nodes' ends of one overlay, laid as the agent lays them. Benchmarks use them, too.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use orch::net::overlay::kernel::{Device, Kernel};
use orch::net::overlay::{Backend, Mac, Paths, Peer, diff};

pub const LINK: &str = "orch-test.1";

/// One node, with the range 10.42.`range`.0/24.
#[derive(Clone, Copy)]
pub struct Side {
    pub name: &'static str,
    pub ip: [u8; 4],
    pub range: u8,
}

impl Side {
    pub fn gateway(self) -> Ipv4Addr {
        [10, 42, self.range, 0].into()
    }

    /// Lays the way to the other, and tells how many steps that took.
    pub fn reach(self, other: Self) -> std::io::Result<usize> {
        let mut kernel = Kernel::open()?;
        let node_ip = self.ip.into();
        let wire = kernel.wire(node_ip)?.expect("the wire");
        let device = Device { name: LINK.into(), mac: Mac::of_node(self.name), node_ip, address: self.gateway() };
        let link = kernel.ensure(&device, wire)?;
        let peer = Peer { node_ip: other.ip.into(), mac: Mac::of_node(other.name) };
        let range = ipnet::Ipv4Net::new(other.gateway(), 24).expect("a range");
        let desired = Paths::of(Backend::Vxlan, &BTreeMap::from([(range, peer)]), link);
        let steps = diff(&desired, &kernel.observe(Some(link))?);
        steps.iter().try_for_each(|step| kernel.apply(step, link))?;
        assert_eq!(kernel.observe(Some(link))?, desired);
        Ok(steps.len())
    }
}

pub const HERE: Side = Side { name: "here", ip: [192, 0, 2, 1], range: 0 };
pub const THERE: Side = Side { name: "there", ip: [192, 0, 2, 7], range: 1 };
