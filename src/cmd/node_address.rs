//! What this machine calls itself when no flag says otherwise. Sends no packet.

use std::net::IpAddr;

use anyhow::Context as _;

use crate::client::paths::Paths;
use crate::net::losses::Losses;
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

/// Ends connections from an address that is no more the machine's, or no more the node's: another uplink has taken over.
pub async fn end_paths(paths: Paths, mut address: NodeAddress, mut losses: Losses) {
    let moved = async {
        loop {
            address.changed().await;
            let now = address.get();
            paths.end(|local| !local.is_loopback() && local != now);
        }
    };
    let lost = async {
        loop {
            match losses.next().await {
                Ok(held) => paths.end(|local| matches!(local, IpAddr::V4(local) if !held.contains(&local))),
                Err(error) => tracing::warn!(%error, "the machine's addresses cannot be read"),
            }
        }
    };
    tokio::join!(moved, lost);
}
