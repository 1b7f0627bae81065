//! Pods' way to the outside: what leaves the pod network for elsewhere carries the node's address. Pure, but for the
//! switch that lets the host forward; called by the agent.

use std::io;

use ipnet::Ipv4Net;

use crate::net::nft::model::{Chain, Field, HookKind, Point, Statement, Table};
use crate::net::sysctl;

/// Lets this host forward IPv4 packets.
pub fn allow_forwarding() -> io::Result<()> {
    sysctl::set("net.ipv4.ip_forward", "1")
}

/// Adds the rules: pods keep their address among each other and lose it towards everybody else (but multicast).
pub fn extend(table: &mut Table, cluster: Ipv4Net) {
    let multicast = Statement::Match {
        field: Field::DestinationAddress,
        mask: [240, 0, 0, 0],
        equal: false,
        value: [224, 0, 0, 0],
    };
    let rule = vec![
        Statement::ipv4(),
        Statement::within(Field::SourceAddress, cluster, true),
        Statement::within(Field::DestinationAddress, cluster, false),
        multicast,
        Statement::Masquerade,
    ];
    table.chains.insert("masquerade".into(), Chain::hooked(HookKind::Nat, Point::Postrouting, 100, vec![rule]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nft::trace::{Fate, Packet, at};

    #[test]
    fn only_what_leaves_the_pod_network_is_masqueraded() {
        let mut table = Table::default();
        extend(&mut table, "10.42.0.0/16".parse().unwrap());
        let mut fate = |from, to| at(&mut table, Point::Postrouting, &mut Packet::tcp(from, to, 80));
        assert_eq!(fate([10, 42, 0, 2], [198, 51, 100, 1]), Fate::Masqueraded);
        assert_eq!(fate([10, 42, 0, 2], [10, 42, 7, 2]), Fate::Passes);
        assert_eq!(fate([10, 42, 0, 2], [239, 1, 1, 1]), Fate::Passes);
        assert_eq!(fate([192, 0, 2, 1], [198, 51, 100, 1]), Fate::Passes);
    }
}
