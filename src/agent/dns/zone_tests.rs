//! Every record of the DNS specification, and what there is instead of one.

use super::*;
use serde_json::{Value as Json, json};

fn services() -> Services {
    let services = Services::default();
    let put = |name: &str, spec: Json| {
        let object = json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
        services.put_service(Key::new("shop", name), Some(&serde_json::from_value(object).unwrap()));
    };
    let slice = |name: &str, of: &str, ports: Json, endpoints: Json| {
        let object = json!({
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": of}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        services.put_slice(Key::new("shop", name), Some(&serde_json::from_value(object).unwrap()));
    };
    let web_ports = json!([{"name": "HTTP", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    put("web", json!({"clusterIP": "10.43.0.5", "ports": web_ports}));
    put("plain", json!({"clusterIP": "10.43.0.6", "ports": [{"port": 80}]}));
    put("dual", json!({"clusterIPs": ["10.43.0.7", "fd00::7"], "ports": [{"name": "http", "port": 80}]}));
    put("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
    put("empty", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
    put("portless", json!({"clusterIP": "None"}));
    put("away", json!({"type": "ExternalName", "externalName": "example.org"}));
    put("address", json!({"type": "ExternalName", "externalName": "192.0.2.1"}));
    let sql = json!([{"name": "sql", "port": 5432}]);
    slice(
        "db-1",
        "db",
        sql.clone(),
        json!([{"addresses": ["10.42.0.2"], "hostname": "Db-0"}, {"addresses": ["10.42.0.3"]}]),
    );
    slice(
        "db-2",
        "db",
        sql,
        json!([
            {"addresses": ["10.42.0.4"], "conditions": {"ready": false}},
            {"addresses": ["fd00::42"]},
            {"addresses": ["10.42.0.6"], "hostname": "db-0"},
        ]),
    );
    slice("web-1", "web", json!([{"name": "HTTP", "port": 8080}]), json!([{"addresses": ["10.42.0.9"]}]));
    slice("portless-1", "portless", json!([]), json!([{"addresses": ["10.42.0.10"], "hostname": "a"}]));
    services
}

fn zone() -> Zone {
    let services = services();
    let ranges = ["10.42.0.0/16".parse().unwrap(), "10.43.0.0/16".parse().unwrap()];
    let zone = Zone::new("cluster.local", [10, 43, 0, 10].into(), &ranges, services).unwrap();
    for name in ["web", "plain", "dual", "db", "empty", "portless", "away", "address"] {
        zone.index(Key::new("shop", name));
    }
    zone
}

/// The answer in words: the records' data, or what there is instead.
fn ask(name: &str, kind: RecordType) -> String {
    in_words(&zone(), name, kind)
}

fn in_words(zone: &Zone, name: &str, kind: RecordType) -> String {
    let name = Name::from_ascii(name).unwrap();
    match zone.answer(&name, kind) {
        Answer::Here(reply) => {
            assert!(reply.authoritative);
            let code = reply.code;
            if reply.answers.is_empty() {
                let soa = &reply.authorities[..];
                assert!(matches!(soa, [soa] if soa.name.zone_of(&name) && soa.record_type() == RecordType::SOA));
                return if code == ResponseCode::NoError { "NODATA".to_owned() } else { format!("{code:?}") };
            }
            assert!(code == ResponseCode::NoError && reply.authorities.is_empty());
            let ttl = if kind == RecordType::TXT { 28_800 } else { 30 };
            assert!(reply.answers.iter().all(|it| it.ttl == ttl && it.name == name && it.record_type() == kind));
            reply.answers.iter().map(|it| it.data.to_string()).collect::<Vec<_>>().join(", ")
        }
        Answer::Alias { target, record } => {
            assert_eq!(record.data.to_string(), target.to_string());
            format!("alias {target}")
        }
        Answer::Elsewhere => "elsewhere".to_owned(),
    }
}

#[track_caller]
fn table(cases: &[(&str, RecordType, &str)]) {
    for (name, kind, wanted) in cases {
        assert_eq!(ask(name, *kind), *wanted, "{name} {kind}");
    }
}

use RecordType::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};

#[test]
fn services_with_a_cluster_ip() {
    table(&[
        ("web.shop.svc.cluster.local.", A, "10.43.0.5"),
        ("WEB.shop.svc.Cluster.Local.", A, "10.43.0.5"),
        ("web.shop.svc.cluster.local.", AAAA, "NODATA"),
        ("web.shop.svc.cluster.local.", MX, "NODATA"),
        ("web.shop.svc.cluster.local.", TXT, "NODATA"),
        ("web.shop.svc.cluster.local.", RecordType::Unknown(4711), "NODATA"),
        ("dual.shop.svc.cluster.local.", A, "10.43.0.7"),
        ("dual.shop.svc.cluster.local.", AAAA, "fd00::7"),
        ("web.other.svc.cluster.local.", A, "NXDomain"),
        ("nothing.shop.svc.cluster.local.", A, "NXDomain"),
        ("nothing.shop.svc.cluster.local.", TXT, "NXDomain"),
        ("*.shop.svc.cluster.local.", A, "NXDomain"),
        ("any.shop.svc.cluster.local.", A, "NXDomain"),
        ("web.*.svc.cluster.local.", A, "NXDomain"),
        ("10-42-0-9.web.shop.svc.cluster.local.", A, "10.42.0.9"),
        ("web.example.org.", A, "elsewhere"),
        ("local.", A, "elsewhere"),
        ("notcluster.local.", A, "elsewhere"),
        (".", NS, "elsewhere"),
    ]);
}

#[test]
fn headless_services_and_their_endpoints() {
    table(&[
        ("db.shop.svc.cluster.local.", A, "10.42.0.2, 10.42.0.3, 10.42.0.6"),
        ("db.shop.svc.cluster.local.", AAAA, "fd00::42"),
        ("DB-0.db.shop.svc.cluster.local.", A, "10.42.0.2, 10.42.0.6"),
        ("db-0.db.shop.svc.cluster.local.", AAAA, "NODATA"),
        ("10-42-0-3.db.shop.svc.cluster.local.", A, "10.42.0.3"),
        ("fd00--42.db.shop.svc.cluster.local.", AAAA, "fd00::42"),
        ("10-42-0-4.db.shop.svc.cluster.local.", A, "NXDomain"),
        ("10-42-0-2.db.shop.svc.cluster.local.", A, "NXDomain"),
        ("empty.shop.svc.cluster.local.", A, "NXDomain"),
        ("portless.shop.svc.cluster.local.", A, "10.42.0.10"),
        ("a.portless.shop.svc.cluster.local.", A, "10.42.0.10"),
        ("portless.shop.svc.cluster.local.", SRV, "NODATA"),
    ]);
}

#[test]
fn ports() {
    table(&[
        ("_http._tcp.web.shop.svc.cluster.local.", SRV, "0 100 80 web.shop.svc.cluster.local."),
        ("_HTTP._TCP.web.shop.svc.cluster.local.", SRV, "0 100 80 web.shop.svc.cluster.local."),
        ("_dns._udp.web.shop.svc.cluster.local.", SRV, "0 100 53 web.shop.svc.cluster.local."),
        ("_http._tcp.web.shop.svc.cluster.local.", A, "10.43.0.5"),
        ("_http._udp.web.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("_none._tcp.web.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("http.tcp.web.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("_tcp.web.shop.svc.cluster.local.", SRV, "NODATA"),
        ("_sctp.web.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("_._tcp.plain.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("_tcp.plain.shop.svc.cluster.local.", SRV, "NXDomain"),
        ("_http._tcp.dual.shop.svc.cluster.local.", SRV, "0 50 80 dual.shop.svc.cluster.local."),
        ("db-0.db.shop.svc.cluster.local.", SRV, "0 50 5432 db-0.db.shop.svc.cluster.local."),
        (
            "_sql._tcp.db.shop.svc.cluster.local.",
            SRV,
            "0 25 5432 db-0.db.shop.svc.cluster.local., 0 25 5432 10-42-0-3.db.shop.svc.cluster.local., \
             0 25 5432 fd00--42.db.shop.svc.cluster.local.",
        ),
        (
            "web.shop.svc.cluster.local.",
            SRV,
            "0 50 80 web.shop.svc.cluster.local., 0 50 53 web.shop.svc.cluster.local.",
        ),
    ]);
    let name = Name::from_ascii("_sql._tcp.db.shop.svc.cluster.local.").unwrap();
    let Answer::Here(reply) = zone().answer(&name, SRV) else { panic!() };
    let mut along: Vec<_> = reply.additionals.iter().map(|it| format!("{} {}", it.name, it.data)).collect();
    along.sort();
    let wanted = [
        "10-42-0-3.db.shop.svc.cluster.local. 10.42.0.3",
        "db-0.db.shop.svc.cluster.local. 10.42.0.2",
        "db-0.db.shop.svc.cluster.local. 10.42.0.6",
        "fd00--42.db.shop.svc.cluster.local. fd00::42",
    ];
    assert_eq!(along, wanted, "the targets' addresses come along");
}

#[test]
fn names_that_lead_elsewhere() {
    table(&[
        ("away.shop.svc.cluster.local.", A, "alias example.org."),
        ("away.shop.svc.cluster.local.", CNAME, "alias example.org."),
        ("away.shop.svc.cluster.local.", TXT, "alias example.org."),
        ("x.away.shop.svc.cluster.local.", A, "NXDomain"),
        ("address.shop.svc.cluster.local.", A, "NXDomain"),
    ]);
}

#[test]
fn pods_and_the_zone_itself() {
    table(&[
        ("10-42-0-9.shop.pod.cluster.local.", A, "10.42.0.9"),
        ("10-42-0-9.shop.pod.cluster.local.", AAAA, "NODATA"),
        ("fd00--42.shop.pod.cluster.local.", AAAA, "fd00::42"),
        ("1-2-3.shop.pod.cluster.local.", A, "NXDomain"),
        ("1-2-3-256.shop.pod.cluster.local.", A, "NXDomain"),
        ("x-42-0-9.shop.pod.cluster.local.", A, "NXDomain"),
        ("shop.pod.cluster.local.", A, "NODATA"),
        ("cluster.local.", NS, "ns.dns.cluster.local."),
        ("cluster.local.", A, "NODATA"),
        ("dns.cluster.local.", A, "NODATA"),
        ("ns.dns.cluster.local.", A, "10.43.0.10"),
        ("ns.dns.cluster.local.", AAAA, "NODATA"),
        ("dns-version.cluster.local.", TXT, "1.1.0"),
        ("dns-version.cluster.local.", A, "NODATA"),
        ("shop.svc.cluster.local.", A, "NODATA"),
        ("nowhere.svc.cluster.local.", A, "NXDomain"),
        ("svc.cluster.local.", A, "NODATA"),
        ("nothing.cluster.local.", A, "NXDomain"),
        ("a.b.c.d.e.f.cluster.local.", A, "NXDomain"),
    ]);
    let soa = ask("cluster.local.", SOA);
    assert!(
        soa.starts_with("ns.dns.cluster.local. hostmaster.cluster.local. ") && soa.ends_with(" 7200 1800 86400 30")
    );
    let name = Name::from_ascii("Cluster.LOCAL.").unwrap();
    let Answer::Here(reply) = zone().answer(&name, NS) else { panic!() };
    assert_eq!(reply.additionals[0].data.to_string(), "10.43.0.10", "the server's address comes along");
    assert!(reply.answers[0].name.eq_case(&name), "the name keeps its case");
}

#[test]
fn addresses_back_to_names() {
    table(&[
        ("5.0.43.10.in-addr.arpa.", PTR, "web.shop.svc.cluster.local."),
        ("5.0.43.10.in-addr.arpa.", A, "NODATA"),
        ("2.0.42.10.in-addr.arpa.", PTR, "db-0.db.shop.svc.cluster.local."),
        ("3.0.42.10.in-addr.arpa.", PTR, "10-42-0-3.db.shop.svc.cluster.local."),
        ("9.0.42.10.in-addr.arpa.", PTR, "10-42-0-9.web.shop.svc.cluster.local."),
        ("4.0.42.10.in-addr.arpa.", PTR, "NXDomain"),
        ("200.0.42.10.in-addr.arpa.", PTR, "NXDomain"),
        ("0.42.10.in-addr.arpa.", PTR, "elsewhere"),
        ("1.2.0.192.in-addr.arpa.", PTR, "elsewhere"),
        (
            "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
            PTR,
            "dual.shop.svc.cluster.local.",
        ),
    ]);
}

#[test]
fn what_is_deleted_is_forgotten() {
    let zone = zone();
    let at = |name: &str, kind| in_words(&zone, name, kind);
    zone.services.put_service(Key::new("shop", "web"), None);
    zone.index(Key::new("shop", "web"));
    assert_eq!(at("5.0.43.10.in-addr.arpa.", PTR), "NXDomain");
    assert_eq!(at("9.0.42.10.in-addr.arpa.", PTR), "NXDomain", "an endpoint without its Service");
    assert_eq!(at("shop.svc.cluster.local.", A), "NODATA");
    // A Service moves to another address.
    let moved = json!({"metadata": {}, "spec": {"clusterIP": "10.43.0.66", "ports": [{"port": 80}]}});
    zone.services.put_service(Key::new("shop", "plain"), Some(&serde_json::from_value(moved).unwrap()));
    zone.index(Key::new("shop", "plain"));
    assert_eq!(at("6.0.43.10.in-addr.arpa.", PTR), "NXDomain");
    assert_eq!(at("66.0.43.10.in-addr.arpa.", PTR), "plain.shop.svc.cluster.local.");
    for name in ["plain", "dual", "db", "empty", "portless", "away", "address"] {
        zone.services.put_service(Key::new("shop", name), None);
        zone.index(Key::new("shop", name));
    }
    assert_eq!(at("shop.svc.cluster.local.", A), "NXDomain", "the namespace's last Service is gone");
}
