//! What the proxy's rules mean: packets are traced through the data that Services turn into.

use std::net::Ipv4Addr;

use serde_json::{Value as Json, json};

use super::planner::Planner;
use super::skeleton::{Choice, Side};
use super::{plan, skeleton};
use crate::agent::services::{Key, Services};
use crate::net::nft::Change;
use crate::net::nft::diff::{apply, diff};
use crate::net::nft::model::{Point, Table};
use crate::net::nft::trace::{Fate, Packet, at};

const HOST: [u8; 4] = [192, 0, 2, 1];
const POD: [u8; 4] = [10, 42, 0, 9];
const OUTSIDE: [u8; 4] = [198, 51, 100, 7];

/// A proxy without a kernel.
struct Bench {
    services: Services,
    planner: Planner,
    table: Table,
}

fn bench() -> Bench {
    let node = plan::Node { name: "here".to_owned(), cluster_dns: Some([10, 43, 0, 10].into()) };
    Bench {
        services: Services::default(),
        planner: Planner::new(node, "10.42.0.0/16".parse().unwrap()),
        table: skeleton::table("orch-svc"),
    }
}

impl Bench {
    fn service(&mut self, name: &str, spec: Json) -> Vec<Change> {
        let mut spec = spec;
        if spec.get("ports").is_none() {
            spec["ports"] = json!([{"name": "http", "port": 80}]);
        }
        let object = serde_json::from_value(json!({"metadata": {"namespace": "n", "name": name}, "spec": spec}));
        self.services.put_service(Key::new("n", name), Some(&object.unwrap()));
        self.update(name)
    }

    fn endpoints(&mut self, name: &str, endpoints: Json) -> Vec<Change> {
        let object = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": endpoints,
        }));
        self.services.put_slice(Key::new("n", name), Some(&object.unwrap()));
        self.update(name)
    }

    fn update(&mut self, name: &str) -> Vec<Change> {
        let key = Key::new("n", name);
        let view = self.services.get(&key);
        let changes = self.planner.plan(vec![(key, view)], &self.table.chains.keys().cloned().collect()).0;
        apply(&mut self.table, &changes);
        changes
    }

    fn send(&mut self, packet: &mut Packet) -> Fate {
        packet.local = [Ipv4Addr::from(HOST)].into();
        let entry = if packet.source == Ipv4Addr::from(HOST) { Point::Output } else { Point::Prerouting };
        let fate = at(&mut self.table, entry, packet);
        if fate != Fate::Passes {
            return fate;
        }
        let local = packet.local.contains(&packet.destination);
        at(&mut self.table, if local { Point::Input } else { Point::Forward }, packet)
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
    assert_eq!(bench.tcp(POD, [10, 43, 0, 6], 80).0, Fate::Passes, "nobody's address is not ours to refuse");
    bench.endpoints("web", json!([]));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 5], 80).0, Fate::Rejected);
}

#[test]
fn the_cluster_dns_address_is_left_alone() {
    let mut bench = bench();
    bench.service("kube-dns", json!({"clusterIP": "10.43.0.10"}));
    assert_eq!(bench.tcp(POD, [10, 43, 0, 10], 80).0, Fate::Passes);
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
fn headless_external_name_and_foreign_services_are_ignored() {
    let mut bench = bench();
    let empty = bench.table.clone();
    bench.service("a", json!({"clusterIP": "None"}));
    bench.service("b", json!({"type": "ExternalName", "externalName": "example.org"}));
    bench.endpoints("a", json!([ready("10.42.0.2", "here")]));
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
