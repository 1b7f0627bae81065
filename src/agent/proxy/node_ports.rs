//! On which of the host's addresses node ports are: `--nodeport-addresses`, as kube-proxy has it. Pure.

use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::agent::proxy::skeleton::NODE_PORT_IPS;
use crate::net::nft::model::{Field, LOCAL, Statement};

/// Upstream's default in its nftables mode is the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The node's own address, whatever it becomes.
    #[default]
    Primary,
    /// Every address of the host in one of these ranges.
    Within(Vec<Ipv4Net>),
}

/// One value of the flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Primary,
    Range(IpNet),
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "primary" => Ok(Self::Primary),
            range => range.parse().map(Self::Range).map_err(|_| "must be a CIDR or 'primary'".to_owned()),
        }
    }
}

impl NodePortAddresses {
    /// What the flag's values mean together. Where there are ranges, but none of this family, all addresses count.
    ///
    /// # Errors
    /// `primary` stands beside ranges.
    pub fn of(wishes: &[Wish]) -> Result<Self, &'static str> {
        if matches!(wishes, [] | [Wish::Primary]) {
            return Ok(Self::Primary);
        }
        if wishes.contains(&Wish::Primary) {
            return Err("can't use both 'primary' and CIDRs");
        }
        let v4 = wishes.iter().filter_map(|wish| match wish {
            Wish::Range(IpNet::V4(range)) => Some(range.trunc()),
            _ => None,
        });
        let mut ranges: Vec<_> = v4.collect();
        let all = Ipv4Net::default();
        if ranges.is_empty() || ranges.contains(&all) {
            ranges = vec![all];
        }
        Ok(Self::Within(ranges))
    }

    /// The conditions under which a packet is for a node port, each a way of its own. Never on loopback, which has no way
    /// back.
    pub fn conditions(&self) -> Vec<Vec<Statement>> {
        match self {
            Self::Primary => {
                let set = NODE_PORT_IPS.into();
                vec![vec![Statement::Member { key: vec![Field::DestinationAddress], set }]]
            }
            Self::Within(ranges) => ranges.iter().map(|range| within(*range)).collect(),
        }
    }
}

fn within(range: Ipv4Net) -> Vec<Statement> {
    let loopback = Ipv4Net::new_assert([127, 0, 0, 0].into(), 8);
    let mut all = vec![
        Statement::within(Field::DestinationAddress, loopback, false),
        Statement::is(Field::DestinationKind, LOCAL.to_ne_bytes()),
    ];
    if range != Ipv4Net::default() {
        all.insert(0, Statement::within(Field::DestinationAddress, range, true));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_read_as_upstream_reads_it() {
        let range = |text: &str| text.parse::<Ipv4Net>().unwrap();
        let of = |text: &str| {
            let wishes: Result<Vec<Wish>, _> = text.split_terminator(',').map(str::parse).collect();
            wishes.and_then(|wishes| NodePortAddresses::of(&wishes).map_err(str::to_owned))
        };
        let within = |ranges: &[&str]| Ok(NodePortAddresses::Within(ranges.iter().map(|text| range(text)).collect()));
        assert_eq!(of(""), Ok(NodePortAddresses::Primary));
        assert_eq!(of("primary"), Ok(NodePortAddresses::Primary));
        assert_eq!(of("192.0.2.0/24,10.0.0.1/8"), within(&["192.0.2.0/24", "10.0.0.0/8"]));
        assert_eq!(of("192.0.2.0/24,0.0.0.0/0"), within(&["0.0.0.0/0"]));
        assert_eq!(of("fd00::/8"), within(&["0.0.0.0/0"]), "none of this family");
        assert_eq!(of("primary,10.0.0.0/8"), Err("can't use both 'primary' and CIDRs".to_owned()));
        assert!(of("192.0.2.1").is_err());
    }
}
