//! The overlay that is none: routes by the nodes' own addresses.

use super::Pair;
use crate::support::{eventually, require_root_and, told};

#[test]
fn nodes_on_one_wire_route_without_an_overlay_needs_root() {
    require_root_and(&["ping"]);
    let pair = Pair::start(&["--flannel-backend=host-gw"]);
    let (cluster, [a, b]) = (&pair.cluster, pair.pods());
    eventually("the way between the pods", || a.reaches(&b) && b.reaches(&a));
    assert_eq!((a.mtu(), b.get(&a.url("large")).len()), (1500, 65536));
    assert!(a.pings(&b, 1500));
    let range = cluster.field("node/node-2", "{.spec.podCIDR}");
    let route = format!("{range} via {} dev uplink", pair.agent.host.ip);
    assert!(cluster.host.ip("route").contains(&route), "{}", cluster.host.ip("route"));

    // The kernel drops the routes of a link that goes down.
    cluster.host.flap();
    eventually("the route's return", || cluster.host.ip("route").contains(&route));
    eventually("the way between the pods after the flap", || a.reaches(&b) && b.reaches(&a));
    cluster.host.ip(&format!("route delete {range}"));
    eventually("the route's return", || cluster.host.ip("route").contains(&route));

    // What orch leaves is nothing, on a link that is not its own too.
    let output = cluster.orch(&["uninstall", "--yes"]);
    assert!(output.status.success(), "{}", told(&output));
    assert!(!cluster.host.ip("route").contains(&range), "{}", cluster.host.ip("route"));
}
