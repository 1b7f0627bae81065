//! Says what the overlay's self-test means for a person, and what he does about it.

use std::net::Ipv4Addr;

use super::finding::Finding;
use crate::net::overlay::selftest::{Cause, Entry};
use crate::net::overlay::{OVERHEAD, PORT};

const CHECK: &str = "overlay";

/// `link` is our VXLAN link, `wire` the one below it; `node` names the peer where that is known.
pub fn peer(entry: &Entry, node: Option<&str>, cause: Cause, link: &str, wire: &str) -> Finding {
    let range = entry.range;
    let who = node.map_or_else(|| format!("the node with {range}"), |name| format!("node {name} ({range})"));
    match cause {
        Cause::Well => Finding::ok(CHECK, format!("{who} answers through the overlay, also to large packets")),
        Cause::Incomplete => Finding::fail(
            CHECK,
            format!("the kernel has a route to {who}, but does not know where that is"),
            "let the agent lay its way anew: systemctl restart orch",
        ),
        Cause::Stale { entry: old, node_ip } => {
            let message = format!("packets to {who} go to {old}, where it was; it is at {node_ip} now");
            Finding::fail(CHECK, message, replace(entry, node_ip, link))
        }
        Cause::Unreachable { node_ip } => Finding::fail(
            CHECK,
            format!("{who} does not answer at {node_ip} either: it is down, or nothing leads there"),
            format!("look at the node, and at the way there: ip route get {node_ip}"),
        ),
        Cause::Blocked { node_ip } => Finding::fail(
            CHECK,
            format!("{who} answers at {node_ip}, but not through the overlay: something drops UDP {PORT}"),
            format!(
                "let UDP {PORT} through on both nodes and between them (orch doctor names the firewalls of each; \
                 clouds have security groups): nft insert rule FAMILY TABLE CHAIN udp dport {PORT} accept"
            ),
        ),
        Cause::Narrow { node_ip, carries } => {
            let path = carries + OVERHEAD;
            Finding::fail(
                CHECK,
                format!("{who} answers to packets of up to {carries} bytes only: the way to {node_ip} carries {path}"),
                format!(
                    "tell every node what its wire carries; the overlay follows: ip link set dev {wire} mtu {path}"
                ),
            )
        }
    }
}

/// The same for a peer that is reached by its own address: `--flannel-backend host-gw`.
pub fn neighbour(entry: &Entry, node: Option<&str>, cause: Cause, wire: &str) -> Finding {
    let (range, gateway) = (entry.range, entry.gateway);
    let who = node.map_or_else(|| format!("the node with {range}"), |name| format!("node {name} ({range})"));
    match cause {
        Cause::Well => Finding::ok(CHECK, format!("{who} answers at {gateway}, by which its pods are reached")),
        Cause::Stale { node_ip, .. } => Finding::fail(
            CHECK,
            format!("packets to {who} go to {gateway}, where it was; it is at {node_ip} now"),
            format!("ip route replace {range} via {node_ip}"),
        ),
        Cause::Narrow { carries, .. } => Finding::fail(
            CHECK,
            format!("{who} answers to packets of up to {carries} bytes only"),
            format!("tell every node what its wire carries: ip link set dev {wire} mtu {carries}"),
        ),
        Cause::Unreachable { .. } | Cause::Blocked { .. } | Cause::Incomplete => Finding::fail(
            CHECK,
            format!(
                "{who} does not answer at {gateway}, by which its pods are reached: it is down, or nothing leads there"
            ),
            format!("look at the node, and at the way there: ip route get {gateway}"),
        ),
    }
}

fn replace(entry: &Entry, node_ip: Ipv4Addr, link: &str) -> String {
    match entry.mac {
        Some(mac) => format!("bridge fdb replace {mac} dev {link} dst {node_ip} self permanent"),
        None => "systemctl restart orch".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::in_words;
    use super::*;
    use crate::net::overlay::Mac;

    #[test]
    fn each_cause_has_its_cure() {
        let node_ip = Ipv4Addr::new(192, 0, 2, 7);
        let entry = Entry {
            range: "10.42.1.0/24".parse().unwrap(),
            gateway: [10, 42, 1, 0].into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            node_ip: Some(node_ip),
        };
        let say = |cause| in_words(&[peer(&entry, Some("b"), cause, "orch.1", "eth0")]).remove(0);
        assert!(say(Cause::Well).starts_with("OK node b (10.42.1.0/24) answers"));
        assert!(say(Cause::Incomplete).ends_with("| let the agent lay its way anew: systemctl restart orch"));
        let moved = say(Cause::Stale { entry: node_ip, node_ip: [192, 0, 2, 8].into() });
        assert!(moved.ends_with("| bridge fdb replace 02:00:00:00:00:01 dev orch.1 dst 192.0.2.8 self permanent"));
        assert!(say(Cause::Unreachable { node_ip }).ends_with("ip route get 192.0.2.7"));
        let blocked = say(Cause::Blocked { node_ip });
        assert!(blocked.contains("drops UDP 8472 |") && blocked.ends_with("udp dport 8472 accept"), "{blocked}");
        let narrow = say(Cause::Narrow { node_ip, carries: 1250 });
        assert!(narrow.contains("carries 1300 |") && narrow.ends_with("ip link set dev eth0 mtu 1300"), "{narrow}");
    }

    #[test]
    fn a_neighbour_is_reached_by_its_address() {
        let (old, node_ip) = (Ipv4Addr::new(192, 0, 2, 7), Ipv4Addr::new(192, 0, 2, 8));
        let entry = Entry { range: "10.42.1.0/24".parse().unwrap(), gateway: old, mac: None, node_ip: None };
        let say = |cause| in_words(&[neighbour(&entry, Some("b"), cause, "eth0")]).remove(0);
        assert_eq!(say(Cause::Well), "OK node b (10.42.1.0/24) answers at 192.0.2.7, by which its pods are reached");
        let moved = say(Cause::Stale { entry: old, node_ip });
        assert!(
            moved.starts_with("FAIL ") && moved.ends_with("| ip route replace 10.42.1.0/24 via 192.0.2.8"),
            "{moved}"
        );
        let narrow = say(Cause::Narrow { node_ip: old, carries: 1300 });
        assert!(narrow.ends_with("ip link set dev eth0 mtu 1300"), "{narrow}");
        assert!(say(Cause::Unreachable { node_ip: old }).ends_with("ip route get 192.0.2.7"));
    }
}
