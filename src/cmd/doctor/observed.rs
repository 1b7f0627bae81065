//! What was seen of a machine, before anybody thinks about it. `look` fills it; the other files of this room judge it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use jiff::Timestamp;

/// What the node and server of this machine are configured to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub server: bool,
    pub agent: bool,
    pub https_port: u16,
    pub kubelet_port: u16,
    pub healthz_port: u16,
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    pub cluster_dns: Ipv4Addr,
    /// The process that claimed the run directory.
    pub running: bool,
}

/// What an agent cannot start without. `preflight` looks at this alone.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub root: bool,
    /// Programs that are needed, the packages that bring them, and where they are.
    pub programs: Vec<(&'static str, &'static str, Option<PathBuf>)>,
    pub overlayfs: bool,
    pub missing_controllers: Vec<&'static str>,
    /// Why nf_tables does not work.
    pub nf_tables: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Kernel {
    pub missing_namespaces: Vec<&'static str>,
    /// Kinds of links that could not be made, and why; `None` where that could not be tried.
    pub links: Option<Vec<(&'static str, String)>>,
    pub sctp: bool,
    pub conntrack: bool,
    pub forwarding: bool,
}

/// A socket that somebody listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub udp: bool,
    pub address: SocketAddr,
    /// The process, where it could be found.
    pub process: Option<String>,
}

/// What a packet filter is changed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    Nft,
    /// The kernel's older filter, which nftables does not show.
    IptablesLegacy,
}

/// A chain of somebody else's that drops or refuses what none of its rules accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppingChain {
    pub tool: Tool,
    pub family: &'static str,
    pub table: String,
    pub chain: String,
    pub hook: Hook,
    /// Its rules as nft(8) or iptables-save(8) shows them; empty where that program is missing.
    pub rules: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Input,
    Forward,
}

#[derive(Clone, Debug, Default)]
pub struct Firewalls {
    pub chains: Vec<DroppingChain>,
    /// There is an ip_tables filter that nobody here can read.
    pub unread: bool,
    /// Runs, and whether it lets the cluster's addresses through.
    pub firewalld: Option<bool>,
    pub ufw: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Clock {
    pub now: Timestamp,
    /// `None` where nobody knows.
    pub synchronized: Option<bool>,
}

#[derive(Clone, Debug)]
pub struct Certificate {
    pub name: String,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub path: PathBuf,
    /// How long it takes until written data is safe, in the middle and at worst; `None` where it cannot be written.
    pub sync: Option<(Duration, Duration)>,
    pub bytes_free: u64,
    pub bytes: u64,
    pub inodes_free: u64,
    pub inodes: u64,
    pub swap: u64,
}

/// What came of knocking at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub url: String,
    pub outcome: Reached,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    Yes,
    /// It connects, and TLS says no.
    Tls(String),
    No(String),
    /// The name leads nowhere.
    Unknown(String),
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    pub node_ip: Option<IpAddr>,
    /// The link that holds it, and its MTU.
    pub wire: Option<(String, u32)>,
    /// Where packets go that are not ours to route.
    pub routes: Vec<(Ipv4Net, String)>,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Observed {
    pub wanted: Wanted,
    pub machine: Machine,
    pub kernel: Kernel,
    pub listeners: Vec<Listener>,
    pub firewalls: Firewalls,
    pub clock: Clock,
    pub certificates: Vec<Certificate>,
    pub disk: Disk,
    pub server: Option<Server>,
    pub network: Network,
}
