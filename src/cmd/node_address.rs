//! What this machine calls itself when no flag says otherwise. Sends no packet.

use std::net::IpAddr;

use anyhow::Context as _;

use crate::net::node_address::NodeAddress;

/// The machine's hostname in lower case, as a Node name wants it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// The given address, or the machine's own, whatever it becomes.
pub fn of_node(given: Option<IpAddr>) -> anyhow::Result<NodeAddress> {
    if let Some(address) = given {
        return Ok(NodeAddress::fixed(address));
    }
    let found = NodeAddress::of_machine(super::teardown::PREFIX).context("the machine's addresses cannot be read")?;
    found.context("this machine has no address but loopback; pass --node-ip")
}
