//! The machine's own address as it changes.

use std::net::IpAddr;
use std::time::Duration;

use orch::net::node_address::NodeAddress;

use crate::support::{PATIENCE, on_host};

#[test]
fn a_machines_address_is_followed_and_a_flap_is_no_change_needs_root() {
    on_host(|host| async move {
        assert!(NodeAddress::of_machine("orch").unwrap().is_none(), "only loopback");
        host.neighbour("there", [203, 0, 113, 1], [203, 0, 113, 7]).await;
        let ip = |last: u8| IpAddr::from([203, 0, 113, last]);
        let mut address = NodeAddress::of_machine("orch").unwrap().expect("an address");
        assert_eq!(address.get(), ip(1), "a machine without a default route has one, too");
        host.ip("route add default via 203.0.113.7");

        // Another lease: everything of the old one goes first. The cluster's own links are no way out.
        host.ip("link add orch-own type veth peer name orch-far");
        host.ip("addr add 10.42.0.0/32 dev orch-own");
        host.ip("addr del 203.0.113.1/24 dev wire");
        host.ip("addr add 203.0.113.5/24 dev wire");
        host.ip("route add default via 203.0.113.7");
        tokio::time::timeout(PATIENCE, address.changed()).await.expect("the kernel tells");
        assert_eq!(address.get(), ip(5));

        // A second address, and a link that flaps and takes the default route with it.
        host.ip("addr add 198.51.100.1/24 dev wire");
        host.ip("link set wire down");
        host.ip("link set wire up");
        let quiet = tokio::time::timeout(Duration::from_secs(1), address.changed()).await;
        assert!(quiet.is_err(), "changed to {}", address.get());
        host.ip("route add default via 203.0.113.7");
        host.ip("route change default via 203.0.113.7 src 198.51.100.1");
        tokio::time::timeout(PATIENCE, address.changed()).await.expect("the kernel tells");
        assert_eq!(address.get(), IpAddr::from([198, 51, 100, 1]));
    });
}
