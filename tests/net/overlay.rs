//! Two nodes that share a wire: the overlay between them, and what it survives.

use std::collections::BTreeMap;
use std::net::TcpListener;

use orch::net::netns;
use orch::net::overlay::events::Changes;
use orch::net::overlay::kernel::Kernel;
use orch::net::overlay::{Backend, Mac, Paths, Peer, diff};

use crate::support::{PATIENCE, ask, on_host, serve};
use crate::two_nodes::{HERE, LINK, Side, THERE};

#[test]
fn two_nodes_reach_each_other_and_mend_what_breaks_needs_root() {
    on_host(|host| async move {
        let there = host.neighbour("there", HERE.ip, THERE.ip).await;
        assert_eq!(HERE.reach(THERE).unwrap(), 3);
        assert_eq!(HERE.reach(THERE).unwrap(), 0, "once is enough");
        netns::run_in(&there.netns, || THERE.reach(HERE)).await.unwrap();
        serve(TcpListener::bind((HERE.gateway(), 80)).unwrap(), "hello");
        let answer = there.ask((HERE.gateway(), 80)).await.unwrap();
        assert_eq!(answer, "hello to 10.42.1.0", "the node carries its range's first address into the overlay");
        let link = host.ip(&format!("-d link show {LINK}"));
        assert!(link.contains("mtu 1450") && link.contains("vxlan id 1") && link.contains("dstport 8472"), "{link}");

        // The kernel tells of each of these, and one look mends it.
        let mut changes = Changes::listen().unwrap();
        let breaks = [
            (format!("route del 10.42.1.0/24 dev {LINK}"), 1),
            (format!("neigh del 10.42.1.0 dev {LINK}"), 1),
            (format!("link set {LINK} down"), 1),
            (format!("link del {LINK}"), 3),
            (format!("addr del 10.42.0.0/32 dev {LINK}"), 0),
        ];
        for (command, at_least) in breaks {
            host.ip(&command);
            tokio::time::timeout(PATIENCE, changes.next()).await.expect("the kernel tells");
            assert!(HERE.reach(THERE).unwrap() >= at_least, "{command}");
            assert_eq!(HERE.reach(THERE).unwrap(), 0, "{command}");
        }
        serve(TcpListener::bind((HERE.gateway(), 81)).unwrap(), "again");
        assert_eq!(there.ask((HERE.gateway(), 81)).await.unwrap(), "again to 10.42.1.0");

        // The node gets another address: its end of the overlay is made anew with it.
        host.ip("addr add 192.0.2.5/24 dev wire");
        let moved = Side { ip: [192, 0, 2, 5], ..HERE };
        assert!(moved.reach(THERE).unwrap() >= 3);
        let link = host.ip(&format!("-d link show {LINK}"));
        assert!(link.contains("local 192.0.2.5"), "{link}");
    });
}

#[test]
fn a_wire_that_flaps_or_moves_is_followed_needs_root() {
    on_host(|host| async move {
        let there = host.neighbour("there", HERE.ip, THERE.ip).await;
        HERE.reach(THERE).unwrap();
        netns::run_in(&there.netns, || THERE.reach(HERE)).await.unwrap();
        host.ip("link set wire down");
        host.ip("link set wire mtu 1400 up");
        HERE.reach(THERE).unwrap();
        assert!(host.ip(&format!("link show {LINK}")).contains("mtu 1350"), "it follows the wire");
        // The node gets another address: its end moves there, and peers' entries for it.
        host.ip("addr flush dev wire");
        host.ip("addr add 192.0.2.2/24 dev wire");
        let moved = Side { ip: [192, 0, 2, 2], ..HERE };
        assert!(Kernel::open().unwrap().wire(HERE.ip.into()).unwrap().is_none());
        moved.reach(THERE).unwrap();
        assert_eq!(
            netns::run_in(&there.netns, move || THERE.reach(moved)).await.unwrap(),
            2,
            "one FDB entry for another"
        );
        serve(TcpListener::bind((HERE.gateway(), 80)).unwrap(), "moved");
        assert_eq!(there.ask((HERE.gateway(), 80)).await.unwrap(), "moved to 10.42.1.0");
        assert!(ask((THERE.gateway(), 80).into()).is_err(), "nobody serves there, and that is told");
    });
}

#[test]
fn without_a_tunnel_plain_routes_do_needs_root() {
    on_host(|host| async move {
        host.neighbour("there", HERE.ip, THERE.ip).await;
        let mut kernel = Kernel::open().unwrap();
        let wire = kernel.wire(HERE.ip.into()).unwrap().unwrap();
        let peer = Peer { node_ip: THERE.ip.into(), mac: Mac([0; 6]) };
        let peers = BTreeMap::from([("10.42.1.0/24".parse().unwrap(), peer)]);
        host.ip("route add 10.99.0.0/16 via 192.0.2.7");
        for (peers, steps) in [(&peers, 1), (&peers, 0), (&BTreeMap::new(), 1)] {
            let desired = Paths::of(Backend::HostGateway, peers, wire.index);
            let plan = diff(&desired, &kernel.observe(None).unwrap());
            assert_eq!(plan.len(), steps);
            plan.iter().for_each(|step| kernel.apply(step, wire.index).unwrap());
        }
        let routes = host.ip("route");
        assert!(routes.contains("10.99.0.0/16") && !routes.contains("10.42.1.0"), "only ours go: {routes}");
    });
}
