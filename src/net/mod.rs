//! What the node's kernel is told about the network: namespaces, links, addresses and packet rules.
//! Desired state comes in as plain data and is applied as a difference; nothing here knows the
//! Kubernetes API or reads somebody else's rules. Called by the agent.

pub mod conntrack;
pub mod echo;
pub mod hostport;
pub mod ipam;
pub mod links;
pub mod losses;
pub mod masquerade;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod node_address;
pub mod node_link;
pub mod overlay;
pub mod pod_link;
pub mod sysctl;
