//! What the proxy's rules mean: packets are traced through the data that Services turn into.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::node_ports::NodePortAddresses;
use super::planner::Planner;
use super::skeleton::{Choice, Side};
use super::{plan, skeleton};
use crate::agent::services::{Key, Services};
use crate::net::nft::Change;
use crate::net::nft::diff::{apply, diff};
use crate::net::nft::model::{Point, Protocol, Table};
use crate::net::nft::trace::{Fate, Packet, at};

const HOST: [u8; 4] = [192, 0, 2, 1];
const POD: [u8; 4] = [10, 42, 0, 9];
const OUTSIDE: [u8; 4] = [198, 51, 100, 7];

/// A proxy without a kernel.
struct Bench {
    services: Services,
    planner: Planner,
    table: Table,
    now: Instant,
}

fn bench() -> Bench {
    bench_with(&NodePortAddresses::Primary)
}

fn bench_with(node_ports: &NodePortAddresses) -> Bench {
    let node = plan::Node {
        name: "here".to_owned(),
        zone: Some("z".to_owned()),
        ip: HOST.into(),
        cluster_dns: Some([10, 43, 0, 10].into()),
    };
    let mut bench = Bench {
        services: Services::default(),
        planner: Planner::new(node, "10.42.0.0/16".parse().unwrap()),
        table: skeleton::table("orch-svc", "10.43.0.0/16".parse().unwrap(), node_ports),
        now: Instant::now(),
    };
    let (changes, _) = bench.planner.plan(Vec::new(), &HashSet::new(), bench.now);
    apply(&mut bench.table, &changes);
    bench
}

impl Bench {
    fn service(&mut self, name: &str, spec: Json) -> Vec<Change> {
        self.object(name, json!({"spec": spec}))
    }

    /// A Service with more than a spec.
    fn object(&mut self, name: &str, mut object: Json) -> Vec<Change> {
        object["metadata"]["name"] = name.into();
        if object["spec"].get("ports").is_none() {
            object["spec"]["ports"] = json!([{"name": "http", "port": 80}]);
        }
        self.services.put_service(Key::new("n", name), Some(&serde_json::from_value(object).unwrap()));
        self.update(name)
    }

    fn endpoints(&mut self, name: &str, endpoints: Json) -> Vec<Change> {
        self.slice(name, name, json!({"ports": [{"name": "http", "port": 8080}], "endpoints": endpoints}))
    }

    fn slice(&mut self, name: &str, service: &str, mut slice: Json) -> Vec<Change> {
        slice["addressType"] = "IPv4".into();
        slice["metadata"]["labels"]["kubernetes.io/service-name"] = service.into();
        self.services.put_slice(Key::new("n", name), Some(&serde_json::from_value(slice).unwrap()));
        self.update(service)
    }

    fn update(&mut self, name: &str) -> Vec<Change> {
        let key = Key::new("n", name);
        let view = self.services.get(&key);
        self.now += Duration::from_secs(2);
        let chains = self.table.chains.keys().cloned().collect();
        let changes = self.planner.plan(vec![(key, view)], &chains, self.now).0;
        apply(&mut self.table, &changes);
        changes
    }

    fn send(&mut self, packet: &mut Packet) -> Fate {
        packet.local = [HOST, SECOND].map(Ipv4Addr::from).into();
        let entry = if packet.source == Ipv4Addr::from(HOST) { Point::Output } else { Point::Prerouting };
        let fate = at(&mut self.table, entry, packet);
        if fate != Fate::Passes {
            return fate;
        }
        let local = packet.local.contains(&packet.destination);
        at(&mut self.table, if local { Point::Input } else { Point::Forward }, packet)
    }

    /// The endpoints that four packets reach, by the last byte of their addresses.
    fn reached(&mut self, from: [u8; 4], to: [u8; 4], port: u16) -> Vec<u8> {
        let mut reached = |random| match self.send(&mut Packet { random, ..Packet::tcp(from, to, port) }) {
            Fate::Translated(address, _) => address.octets()[3],
            other => panic!("{other:?}"),
        };
        (0..4).map(&mut reached).collect()
    }

    fn tcp(&mut self, from: [u8; 4], to: [u8; 4], port: u16) -> (Fate, Packet) {
        let mut packet = Packet::tcp(from, to, port);
        (self.send(&mut packet), packet)
    }

    fn leaves(&mut self, packet: &mut Packet) -> Fate {
        at(&mut self.table, Point::Postrouting, packet)
    }
}

fn ready(address: &str, node: &str) -> Json {
    json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true, "serving": true}})
}

fn endpoint(last: u8) -> Fate {
    Fate::Translated([10, 42, 0, last].into(), 8080)
}

#[test]
fn a_cluster_ip_leads_to_each_ready_endpoint() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5"}));
    let not_ready = json!({"addresses": ["10.42.0.4"], "conditions": {"ready": false}});
    bench.endpoints("web", json!([ready("10.42.0.2", "here"), ready("10.42.0.3", "there"), not_ready]));
    let mut seen = Vec::new();
    for random in 0..4 {
        let mut packet = Packet { random, ..Packet::tcp(POD, [10, 43, 0, 5], 80) };
        seen.push(bench.send(&mut packet));
        assert_eq!(bench.leaves(&mut packet), Fate::Passes, "a pod keeps its address");
    }
    assert_eq!(seen, [endpoint(2), endpoint(3), endpoint(2), endpoint(3)]);
    let (fate, mut packet) = bench.tcp(HOST, [10, 43, 0, 5], 80);
    assert_eq!(fate, endpoint(2));
    assert_eq!(bench.leaves(&mut packet), Fate::Masqueraded, "others get the node's");
    assert_eq!(packet.mark, 0, "the mark does not leave the node");
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5"}));
    bench.endpoints("web", json!([ready("10.42.0.9", "here")]));
    let (fate, mut packet) = bench.tcp(POD, [10, 43, 0, 5], 80);
    assert_eq!(fate, endpoint(9));
    assert_eq!(bench.leaves(&mut packet), Fate::Masqueraded);
}

#[test]
fn without_endpoints_or_on_another_port_a_connection_is_refused() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, Fate::Rejected);
    assert_eq!(bench.tcp(OUTSIDE, HOST, 30080).0, Fate::Rejected);
    bench.endpoints("web", json!([ready("10.42.0.2", "here")]));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, endpoint(2));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 81).0, Fate::Rejected);
    assert_eq!(bench.tcp(POD, [10, 43, 0, 6], 80).0, Fate::Dropped, "nobody's address");
    assert_eq!(bench.tcp(HOST, [10, 43, 0, 6], 80).0, Fate::Dropped);
    assert_eq!(bench.tcp(POD, [10, 44, 0, 6], 80).0, Fate::Passes, "not ours to refuse");
    bench.endpoints("web", json!([]));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, Fate::Rejected);
}

#[test]
fn the_cluster_dns_address_is_left_alone() {
    let mut bench = bench();
    bench.service("kube-dns", json!({"clusterIP": "10.43.0.10"}));
    // The agent serves it, so it is an address of the host.
    let mut packet = Packet { local: [[10, 43, 0, 10].into()].into(), ..Packet::tcp(POD, [10, 43, 0, 10], 80) };
    for point in [Point::Prerouting, Point::Input] {
        assert_eq!(at(&mut bench.table, point, &mut packet), Fate::Passes);
    }
}

#[test]
fn a_node_port_is_served_on_the_nodes_addresses_but_not_on_loopback() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
    bench.endpoints("web", json!([ready("10.42.0.2", "there")]));
    let (fate, mut packet) = bench.tcp(OUTSIDE, HOST, 30080);
    assert_eq!(fate, endpoint(2));
    assert_eq!(bench.leaves(&mut packet), Fate::Masqueraded);
    assert_eq!(bench.tcp(HOST, HOST, 30080).0, endpoint(2));
    assert_eq!(bench.tcp(HOST, [127, 0, 0, 1], 30080).0, Fate::Passes);
    assert_eq!(bench.tcp(POD, OUTSIDE, 30080).0, Fate::Passes, "another host's port");
    assert_eq!(bench.tcp(OUTSIDE, HOST, 80).0, Fate::Passes, "the service port is not a node port");
}

/// Another address of the host.
const SECOND: [u8; 4] = [172, 16, 0, 1];

#[test]
fn node_ports_are_on_the_addresses_that_were_asked_for() {
    let within = |ranges: &[&str]| NodePortAddresses::Within(ranges.iter().map(|it| it.parse().unwrap()).collect());
    // Whether the node's own address, another one, an outside one and loopback have the port.
    for (node_ports, own, second) in [
        (NodePortAddresses::Primary, true, false),
        (within(&["0.0.0.0/0"]), true, true),
        (within(&["172.16.0.0/16"]), false, true),
        (within(&["10.0.0.0/8", "192.0.2.0/24"]), true, false),
    ] {
        let mut bench = bench_with(&node_ports);
        let ports = json!([{"name": "http", "port": 80, "nodePort": 30080}]);
        bench.service("web", json!({"clusterIP": "10.43.0.5", "ports": ports}));
        for with_endpoint in [false, true] {
            if with_endpoint {
                bench.endpoints("web", json!([ready("10.42.0.2", "here")]));
            }
            let there = if with_endpoint { endpoint(2) } else { Fate::Rejected };
            for (to, wanted) in [(HOST, own), (SECOND, second), ([192, 0, 2, 9], false), ([127, 0, 0, 1], false)] {
                let fate = bench.tcp(OUTSIDE, to, 30080).0;
                assert_eq!(fate, if wanted { there.clone() } else { Fate::Passes }, "{node_ports:?} {to:?}");
            }
        }
    }
}

#[test]
fn node_ports_follow_the_nodes_address() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}));
    bench.endpoints("web", json!([ready("10.42.0.2", "here")]));
    bench.planner.set_place(None, Some(SECOND.into()));
    bench.update("web");
    assert_eq!(bench.tcp(OUTSIDE, HOST, 30080).0, Fate::Passes);
    assert_eq!(bench.tcp(OUTSIDE, SECOND, 30080).0, endpoint(2));
}

#[test]
fn the_local_policies_stay_on_this_node() {
    let mut bench = bench();
    let spec = json!({
        "clusterIP": "10.43.0.5", "externalIPs": ["203.0.113.5"],
        "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
    });
    bench.service("web", spec);
    bench.endpoints("web", json!([ready("10.42.0.2", "there")]));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, Fate::Dropped);
    assert_eq!(bench.tcp(OUTSIDE, [203, 0, 113, 5], 80).0, Fate::Dropped);
    assert_eq!(bench.tcp(POD, [203, 0, 113, 5], 80).0, endpoint(2), "from inside, any endpoint will do");
    assert_eq!(bench.tcp(HOST, [203, 0, 113, 5], 80).0, endpoint(2));
    bench.endpoints("web", json!([ready("10.42.0.2", "there"), ready("10.42.0.3", "here")]));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, endpoint(3));
    let (fate, mut packet) = bench.tcp(OUTSIDE, [203, 0, 113, 5], 80);
    assert_eq!(fate, endpoint(3));
    assert_eq!(bench.leaves(&mut packet), Fate::Passes, "the endpoint sees the client's address");
    let (fate, mut packet) = bench.tcp(HOST, [203, 0, 113, 5], 80);
    assert_eq!((fate, bench.leaves(&mut packet)), (endpoint(2), Fate::Masqueraded), "not the host's");
    assert_eq!(bench.reached(POD, [203, 0, 113, 5], 80), [2, 3, 2, 3]);
    assert_eq!(bench.reached(OUTSIDE, [203, 0, 113, 5], 80), [3; 4]);
}

#[test]
fn without_an_endpoint_anywhere_even_the_local_policies_refuse() {
    let mut bench = bench();
    let spec = json!({
        "clusterIP": "10.43.0.5", "externalIPs": ["203.0.113.5"],
        "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
    });
    bench.service("web", spec);
    for (from, to) in [(POD, [10, 43, 0, 5]), (OUTSIDE, [203, 0, 113, 5]), (HOST, [203, 0, 113, 5])] {
        assert_eq!(bench.tcp(from, to, 80).0, Fate::Rejected);
    }
}

#[test]
fn hints_keep_traffic_near_but_not_that_of_the_local_policy() {
    let mut bench = bench();
    bench.service(
        "web",
        json!({"clusterIP": "10.43.0.5", "externalIPs": ["203.0.113.5"], "externalTrafficPolicy": "Local"}),
    );
    let hinted = |last: u8, node: &str, zone: &str| {
        let mut it = ready(&format!("10.42.0.{last}"), node);
        it["hints"] = json!({"forZones": [{"name": zone}]});
        it
    };
    bench.endpoints("web", json!([hinted(2, "there", "z"), hinted(3, "here", "y"), hinted(4, "there", "z")]));
    assert_eq!(bench.reached(POD, [10, 43, 0, 5], 80), [2, 4, 2, 4]);
    assert_eq!(bench.reached(OUTSIDE, [203, 0, 113, 5], 80), [3; 4]);
    // The node moves to another zone.
    bench.planner.set_place(Some("y".to_owned()), None);
    bench.update("web");
    assert_eq!(bench.reached(POD, [10, 43, 0, 5], 80), [3; 4]);
}

#[test]
fn a_load_balancers_addresses_are_ours_unless_it_is_a_proxy() {
    let mut bench = bench();
    bench.object(
        "web",
        json!({
            "spec": {"type": "LoadBalancer", "clusterIP": "10.43.0.5", "allocateLoadBalancerNodePorts": false},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "203.0.113.5", "ipMode": "VIP"}, {"ip": "203.0.113.6", "ipMode": "Proxy"}, {"ip": "203.0.113.7"},
            ]}},
        }),
    );
    bench.endpoints("web", json!([ready("10.42.0.2", "there")]));
    for (last, fate) in [(5, endpoint(2)), (6, Fate::Passes), (7, endpoint(2))] {
        assert_eq!(bench.tcp(OUTSIDE, [203, 0, 113, last], 80).0, fate, "{last}");
    }
}

#[test]
fn only_the_named_sources_may_use_a_load_balancers_address() {
    let mut bench = bench();
    let empty = bench.table.clone();
    let balancer = |name: &str, ranges: Json| {
        json!({
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.43.0.5", "loadBalancerSourceRanges": ranges,
                "externalIPs": ["203.0.113.9"],
                "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": name}]}},
        })
    };
    bench.object("web", balancer("203.0.113.5", json!(["198.51.100.0/24", " 192.0.2.0/24 "])));
    bench.endpoints("web", json!([ready("10.42.0.2", "there")]));
    assert_eq!(bench.tcp(OUTSIDE, [203, 0, 113, 5], 80).0, endpoint(2));
    assert_eq!(bench.tcp(HOST, [203, 0, 113, 5], 80).0, endpoint(2));
    assert_eq!(bench.tcp([203, 0, 113, 5], [203, 0, 113, 5], 80).0, endpoint(2), "the host by the balancer's address");
    assert_eq!(bench.tcp(POD, [203, 0, 113, 5], 80).0, Fate::Dropped);
    assert_eq!(bench.tcp([198, 51, 101, 1], [203, 0, 113, 5], 80).0, Fate::Dropped);
    for (to, port) in [([203, 0, 113, 9], 80), (HOST, 30080), ([10, 43, 0, 5], 80)] {
        assert_eq!(bench.tcp([198, 51, 101, 1], to, port).0, endpoint(2), "the other ways in are open");
    }
    bench.object("web", balancer("203.0.113.5", json!(["198.51.101.0/24"])));
    assert_eq!(bench.tcp([198, 51, 101, 1], [203, 0, 113, 5], 80).0, endpoint(2));
    assert_eq!(bench.tcp(OUTSIDE, [203, 0, 113, 5], 80).0, Fate::Dropped);
    assert_eq!(bench.tcp([203, 0, 113, 5], [203, 0, 113, 5], 80).0, Fate::Dropped, "the host is not among them");
    bench.services.put_slice(Key::new("n", "web"), None);
    bench.services.put_service(Key::new("n", "web"), None);
    bench.update("web");
    bench.update("web");
    assert_eq!(bench.table, empty, "nothing is left");
}

#[test]
fn slices_of_one_service_add_up_and_protocols_have_endpoints_of_their_own() {
    let mut bench = bench();
    let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53},
        {"name": "sig", "port": 53, "protocol": "SCTP"}]);
    bench.service("dns", json!({"clusterIP": "10.43.0.5", "ports": ports}));
    let slice = |port: u16, last: u8| {
        json!({
            "ports": [{"name": "dns", "port": port, "protocol": "UDP"}, {"name": "dns-tcp", "port": port + 1},
                {"name": "sig", "port": port + 2, "protocol": "SCTP"}],
            "endpoints": [ready(&format!("10.42.0.{last}"), "there")],
        })
    };
    bench.slice("dns-a", "dns", slice(5300, 2));
    bench.slice("dns-b", "dns", slice(5310, 3));
    let mut seen = Vec::new();
    for (protocol, random) in [(Protocol::Udp, 0), (Protocol::Udp, 1), (Protocol::Tcp, 0), (Protocol::Sctp, 1)] {
        seen.push(bench.send(&mut Packet { protocol, random, ..Packet::tcp(POD, [10, 43, 0, 5], 53) }));
    }
    let to = |last, port| Fate::Translated([10, 42, 0, last].into(), port);
    assert_eq!(seen, [to(2, 5300), to(3, 5310), to(2, 5301), to(3, 5312)]);
    let fate = bench.send(&mut Packet { protocol: Protocol::Udp, ..Packet::tcp(POD, [10, 43, 0, 5], 54) });
    assert_eq!(fate, Fate::Rejected);
}

#[test]
fn terminating_endpoints_serve_when_no_other_does() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5"}));
    let leaving = json!({
        "addresses": ["10.42.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true},
    });
    bench.endpoints("web", json!([leaving, ready("10.42.0.2", "here")]));
    for random in 0..3 {
        let mut packet = Packet { random, ..Packet::tcp(POD, [10, 43, 0, 5], 80) };
        assert_eq!(bench.send(&mut packet), endpoint(2));
    }
    bench.endpoints("web", json!([leaving]));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, endpoint(4));
}

#[test]
fn affinity_keeps_a_client_with_its_endpoint_until_that_is_gone() {
    let mut bench = bench();
    bench.service("web", json!({"clusterIP": "10.43.0.5", "sessionAffinity": "ClientIP"}));
    bench.endpoints("web", json!([ready("10.42.0.2", "here"), ready("10.42.0.3", "here")]));
    let send = |bench: &mut Bench, source: [u8; 4], random| {
        bench.send(&mut Packet { random, ..Packet::tcp(source, [10, 43, 0, 5], 80) })
    };
    assert_eq!(send(&mut bench, POD, 1), endpoint(3));
    assert_eq!(send(&mut bench, POD, 0), endpoint(3));
    assert_eq!(send(&mut bench, [10, 42, 0, 8], 0), endpoint(2), "another client");
    bench.endpoints("web", json!([ready("10.42.0.2", "here"), ready("10.42.0.4", "here")]));
    assert_eq!(send(&mut bench, POD, 1), endpoint(4));
    assert_eq!(send(&mut bench, POD, 0), endpoint(4));
}

#[test]
fn affinity_is_to_a_port_of_the_service_whichever_address_the_client_uses() {
    let mut bench = bench();
    let ports = json!([{"name": "http", "port": 80, "nodePort": 30080}, {"name": "other", "port": 81}]);
    let spec = |policy: &str| {
        json!({
            "clusterIP": "10.43.0.5", "externalIPs": ["203.0.113.5"], "sessionAffinity": "ClientIP",
            "externalTrafficPolicy": policy, "ports": ports,
        })
    };
    bench.service("web", spec("Cluster"));
    let both = json!([{"name": "http", "port": 8080}, {"name": "other", "port": 8081}]);
    let pods = json!([ready("10.42.0.2", "there"), ready("10.42.0.3", "here")]);
    bench.slice("web", "web", json!({"ports": both, "endpoints": pods}));
    let send = |bench: &mut Bench, source, to, port, random| {
        bench.send(&mut Packet { random, ..Packet::tcp(source, to, port) })
    };
    assert_eq!(send(&mut bench, POD, [203, 0, 113, 5], 80, 0), endpoint(2));
    assert_eq!(send(&mut bench, POD, [10, 43, 0, 5], 80, 1), endpoint(2));
    assert_eq!(send(&mut bench, POD, HOST, 30080, 1), endpoint(2));
    assert_eq!(send(&mut bench, POD, [10, 43, 0, 5], 81, 1), Fate::Translated([10, 42, 0, 3].into(), 8081));
    // The policy becomes Local: a client from outside may not stay with another node's endpoint, one from inside may.
    assert_eq!(send(&mut bench, OUTSIDE, HOST, 30080, 0), endpoint(2));
    bench.service("web", spec("Local"));
    assert_eq!(send(&mut bench, OUTSIDE, HOST, 30080, 0), endpoint(3));
    assert_eq!(send(&mut bench, POD, HOST, 30080, 1), endpoint(2));
    assert_eq!(send(&mut bench, HOST, HOST, 30080, 0), endpoint(2));
    assert_eq!(send(&mut bench, HOST, [10, 43, 0, 5], 80, 1), endpoint(2));
}

#[test]
fn headless_external_name_and_foreign_services_are_ignored() {
    let mut bench = bench();
    let empty = bench.table.clone();
    bench.service("a", json!({"clusterIP": "None"}));
    bench.service("b", json!({"type": "ExternalName", "externalName": "example.org"}));
    bench.endpoints("a", json!([ready("10.42.0.2", "here")]));
    for label in ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"] {
        bench.object("c", json!({"metadata": {"labels": {label: "x"}}, "spec": {"clusterIP": "10.43.0.5"}}));
        bench.endpoints("c", json!([ready("10.42.0.2", "here")]));
        assert_eq!(bench.table, empty, "{label}");
        let slice = json!({
            "metadata": {"labels": {label: "x"}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": [ready("10.42.0.2", "here")],
        });
        bench.service("d", json!({"clusterIP": "10.43.0.6"}));
        bench.slice("d", "d", slice);
        assert_eq!(bench.tcp(POD, [10, 43, 0, 6], 80).0, Fate::Rejected, "{label} on the slice");
        bench.services.put_service(Key::new("n", "d"), None);
        bench.update("d");
    }
    assert_eq!(bench.table, empty);
}

#[test]
fn a_change_is_small_and_undone_completely() {
    let mut bench = bench();
    let empty = bench.table.clone();
    bench.service("web", json!({"clusterIP": "10.43.0.5"}));
    bench.endpoints("web", json!([ready("10.42.0.2", "here"), ready("10.42.0.3", "there")]));
    let before = bench.table.clone();
    let changes = bench.endpoints("web", json!([ready("10.42.0.2", "here"), ready("10.42.0.7", "there")]));
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(diff(&before, &bench.table).unwrap().len(), 2);
    bench.services.put_slice(Key::new("n", "web"), None);
    bench.services.put_service(Key::new("n", "web"), None);
    bench.update("web");
    assert_ne!(bench.table, empty, "a chain may still count as used");
    bench.update("web");
    assert_eq!(bench.table, empty, "nothing is left");
}

#[test]
fn a_pod_behind_two_services_is_known_once_and_until_both_are_gone() {
    let mut bench = bench();
    let empty = bench.table.clone();
    for (name, ip) in [("a", "10.43.0.5"), ("b", "10.43.0.6")] {
        bench.service(name, json!({"clusterIP": ip}));
        bench.endpoints(name, json!([ready("10.42.0.9", "here")]));
    }
    bench.services.put_service(Key::new("n", "a"), None);
    bench.update("a");
    let (fate, mut packet) = bench.tcp(POD, [10, 43, 0, 6], 80);
    assert_eq!((fate, bench.leaves(&mut packet)), (endpoint(9), Fate::Masqueraded));
    bench.services.put_service(Key::new("n", "b"), None);
    bench.update("b");
    bench.update("b");
    assert_eq!(bench.table, empty);
}

#[test]
fn a_choices_name_says_all_of_it() {
    for side in [Side::Internal, Side::External, Side::ExternalLocal] {
        for (node_port, affinity) in [(false, None), (true, Some(10_800))] {
            let choice = Choice { side, node_port, endpoints: 7, local: 2, affinity };
            assert_eq!(Choice::parse(&choice.name()), Some(choice));
        }
    }
    assert_eq!(Choice::parse("destinations"), None);
}
