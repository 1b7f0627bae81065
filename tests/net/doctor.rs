//! The overlay's self-test between two nodes, with everything broken that it tells apart.

use std::net::Ipv4Addr;

use orch::net::netns;
use orch::net::overlay::kernel::Kernel;
use orch::net::overlay::selftest::{self, Cause, Entry};

use crate::support::on_host;
use crate::two_nodes::{HERE, LINK, THERE};

const MTU: u32 = 1450;

fn entry() -> Entry {
    let mut kernel = Kernel::open().unwrap();
    let link = kernel.index(LINK).unwrap();
    selftest::entries(&kernel.observe(link).unwrap()).remove(0)
}

fn cause(node_ip: Option<Ipv4Addr>) -> Cause {
    selftest::cause(&selftest::ask(&entry(), MTU, 10250, node_ip).unwrap())
}

#[test]
fn the_self_test_names_what_is_wrong_needs_root() {
    on_host(|host| async move {
        let there = host.neighbour("there", HERE.ip, THERE.ip).await;
        HERE.reach(THERE).unwrap();
        netns::run_in(&there.netns, || THERE.reach(HERE)).await.unwrap();
        let node_ip = Ipv4Addr::from(THERE.ip);
        assert_eq!(cause(Some(node_ip)), Cause::Well);

        // A firewall on the other side.
        there.run("nft", "add table ip filter").await;
        there.run("nft", "add chain ip filter input { type filter hook input priority 0 ; }").await;
        there.run("nft", "add rule ip filter input udp dport 8472 drop").await;
        assert_eq!(cause(None), Cause::Blocked { node_ip });
        there.run("nft", "delete table ip filter").await;
        assert_eq!(cause(None), Cause::Well);

        // A way that carries less than this side's wire says; a frame has room for its header besides.
        there.run("ip", "link set far mtu 1300").await;
        let Cause::Narrow { carries, .. } = cause(None) else { panic!("{:?}", cause(None)) };
        assert!((1240..=1254).contains(&carries), "{carries}");
        there.run("ip", "link set far mtu 1500").await;
        assert_eq!(cause(None), Cause::Well);

        // Entries that lead to where the node was, and ones that are gone.
        let elsewhere = Ipv4Addr::new(192, 0, 2, 8);
        assert_eq!(cause(Some(elsewhere)), Cause::Stale { entry: node_ip, node_ip: elsewhere });
        host.ip(&format!("neigh del 10.42.1.0 dev {LINK}"));
        assert_eq!(cause(None), Cause::Incomplete);
        HERE.reach(THERE).unwrap();

        there.run("ip", "link set far down").await;
        assert_eq!(cause(None), Cause::Unreachable { node_ip });
    });
}

#[test]
fn a_neighbour_is_asked_at_its_own_address_needs_root() {
    on_host(|host| async move {
        let there = host.neighbour("there", HERE.ip, THERE.ip).await;
        let (node_ip, elsewhere) = (Ipv4Addr::from(THERE.ip), Ipv4Addr::new(192, 0, 2, 8));
        let entry = Entry { range: "10.42.1.0/24".parse().unwrap(), gateway: node_ip, mac: None, node_ip: None };
        let cause = |told| selftest::cause(&selftest::ask_neighbour(&entry, 1500, 10250, told).unwrap());
        assert_eq!(cause(Some(node_ip)), Cause::Well);
        assert_eq!(cause(Some(elsewhere)), Cause::Stale { entry: node_ip, node_ip: elsewhere });

        there.run("ip", "link set far mtu 1300").await;
        let Cause::Narrow { carries, .. } = cause(None) else { panic!("{:?}", cause(None)) };
        assert!((1290..=1304).contains(&carries), "{carries}");
        there.run("ip", "link set far mtu 1500").await;

        // A firewall that lets no echo through, but the kubelet's port.
        there.run("nft", "add table ip filter").await;
        there.run("nft", "add chain ip filter input { type filter hook input priority 0 ; }").await;
        there.run("nft", "add rule ip filter input icmp type echo-request drop").await;
        assert_eq!(cause(None), Cause::Well);
        there.run("ip", "link set far down").await;
        assert_eq!(cause(None), Cause::Unreachable { node_ip });
    });
}
