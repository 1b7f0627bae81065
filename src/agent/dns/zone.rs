//! The cluster's names, by the Kubernetes DNS specification 1.1.0: Services, their ports, endpoints of Services, pods
//! by address, and addresses back to names. Pure but for the lean copy of Services that it reads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use hickory_server::proto::ProtoError;
use hickory_server::proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use ipnet::Ipv4Net;
use parking_lot::RwLock;

use super::labels;
use crate::agent::services::{Endpoint, Key, Service, Services, View};
use crate::net::nft::model::Protocol;

const TTL: u32 = 5;
const VERSION: &str = "1.1.0";

/// What the cluster knows of a name.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Records {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// The name exists, but not with records of this type.
    NoData,
    NxDomain,
    Alias {
        record: Box<Record>,
        target: Name,
    },
    /// Not a name of the cluster.
    Elsewhere,
}

pub struct Zone {
    domain: Name,
    labels: Vec<String>,
    address: Ipv4Addr,
    ranges: Vec<Ipv4Net>,
    services: Services,
    reverse: RwLock<Reverse>,
}

#[derive(Default)]
struct Reverse {
    names: HashMap<IpAddr, BTreeSet<(Key, String)>>,
    by_service: HashMap<Key, Vec<(IpAddr, String)>>,
}

impl Zone {
    pub fn new(domain: &str, address: Ipv4Addr, ranges: &[Ipv4Net], services: Services) -> Result<Self, ProtoError> {
        let mut domain = Name::from_ascii(domain)?.to_lowercase();
        domain.set_fqdn(true);
        let labels = labels(&domain);
        Ok(Self { domain, labels, address, ranges: ranges.to_vec(), services, reverse: RwLock::default() })
    }

    /// Takes the reverse names of a Service as they are now.
    pub fn index(&self, key: Key) {
        let names = reverse_names(&key, &self.services.get(&key));
        let mut reverse = self.reverse.write();
        for (address, name) in reverse.by_service.remove(&key).unwrap_or_default() {
            if let Some(all) = reverse.names.get_mut(&address) {
                all.remove(&(key.clone(), name));
                if all.is_empty() {
                    reverse.names.remove(&address);
                }
            }
        }
        for (address, name) in &names {
            reverse.names.entry(*address).or_default().insert((key.clone(), name.clone()));
        }
        if !names.is_empty() {
            reverse.by_service.insert(key, names);
        }
    }

    pub fn soa(&self) -> Record {
        let name = |prefix: &str| self.name(prefix).unwrap_or_else(|| self.domain.clone());
        let data = SOA::new(name("ns.dns"), name("hostmaster"), 1, 7200, 1800, 86400, TTL);
        record(&self.domain, RData::SOA(data))
    }

    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let all = labels(name);
        if let Some(relative) = all.strip_suffix(&*self.labels) {
            let relative: Vec<&str> = relative.iter().map(String::as_str).collect();
            return self.cluster(name, &relative, kind);
        }
        match all.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [d, c, b, a, "in-addr", "arpa"] => match format!("{a}.{b}.{c}.{d}").parse() {
                Ok(address) => self.pointer(name, address, kind),
                Err(_) => Answer::Elsewhere,
            },
            _ => Answer::Elsewhere,
        }
    }

    fn cluster(&self, name: &Name, relative: &[&str], kind: RecordType) -> Answer {
        match relative {
            [] => self.apex(name, kind),
            ["dns-version"] => records(name, kind, vec![RData::TXT(TXT::new(vec![VERSION.to_owned()]))], Vec::new()),
            ["dns" | "svc" | "pod"] => Answer::NoData,
            ["ns", "dns"] => records(name, kind, vec![RData::A(A(self.address))], Vec::new()),
            [namespace, "svc" | "pod"] => {
                if self.services.in_namespace(namespace).is_empty() {
                    Answer::NxDomain
                } else {
                    Answer::NoData
                }
            }
            [dashed, _namespace, "pod"] => match dashed.replace('-', ".").parse::<Ipv4Addr>() {
                Ok(address) => records(name, kind, vec![RData::A(A(address))], Vec::new()),
                Err(_) => Answer::NxDomain,
            },
            [service, namespace, "svc"] => self.service(name, &Key::new(namespace, service), None, kind),
            [endpoint, service, namespace, "svc"] => self.endpoint(name, &Key::new(namespace, service), endpoint, kind),
            [port, protocol, service, namespace, "svc"] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                (Some(port), Some(protocol)) => {
                    self.service(name, &Key::new(namespace, service), Some((port, protocol)), kind)
                }
                _ => Answer::NxDomain,
            },
            _ => Answer::NxDomain,
        }
    }

    fn apex(&self, name: &Name, kind: RecordType) -> Answer {
        match kind {
            RecordType::SOA => Answer::Records { answers: vec![self.soa()], additionals: Vec::new() },
            RecordType::NS => match self.name("ns.dns") {
                Some(server) => {
                    let glue = record(&server, RData::A(A(self.address)));
                    records(name, kind, vec![RData::NS(NS(server))], vec![glue])
                }
                None => Answer::NoData,
            },
            _ => Answer::NoData,
        }
    }

    /// A Service, or one of its ports.
    fn service(&self, name: &Name, key: &Key, port: Option<(&str, &str)>, kind: RecordType) -> Answer {
        let view = self.services.get(key);
        let Some(service) = &view.service else { return Answer::NxDomain };
        if let Some(external) = &service.external_name {
            let Ok(mut target) = Name::from_ascii(external) else { return Answer::NxDomain };
            target.set_fqdn(true);
            return Answer::Alias { record: Box::new(record(name, RData::CNAME(CNAME(target.clone())))), target };
        }
        let mut addresses = BTreeSet::new();
        // (port, host below the zone) → the host's address
        let mut ports = BTreeMap::new();
        for it in targets(key, service, &view) {
            if port.is_none_or(|(wanted, over)| it.port == wanted && it.protocol.eq_ignore_ascii_case(over)) {
                addresses.insert(it.address);
                if it.number != 0 {
                    ports.insert((it.number, it.host), it.address);
                }
            }
        }
        match kind {
            _ if addresses.is_empty() => Answer::NxDomain,
            RecordType::SRV => self.ports(name, ports),
            _ => records(name, kind, addresses.into_iter().map(data), Vec::new()),
        }
    }

    fn ports(&self, name: &Name, ports: BTreeMap<(u16, String), IpAddr>) -> Answer {
        // Targets of one port share the weight as CoreDNS divides it.
        let weight = u16::try_from(100 / ports.len().max(1)).unwrap_or(1).max(1);
        let mut answers = Vec::new();
        let mut additionals = Vec::new();
        for ((number, host), address) in ports {
            let Some(target) = self.name(&host) else { continue };
            additionals.push(record(&target, data(address)));
            answers.push(record(name, RData::SRV(SRV::new(0, weight, number, target))));
        }
        if answers.is_empty() { Answer::NoData } else { Answer::Records { answers, additionals } }
    }

    /// One endpoint of a Service, by its hostname or its address with dashes.
    fn endpoint(&self, name: &Name, key: &Key, wanted: &str, kind: RecordType) -> Answer {
        let view = self.services.get(key);
        if view.service.is_none() {
            return Answer::NxDomain;
        }
        let mut addresses = BTreeSet::new();
        let mut ports = BTreeMap::new();
        for slice in &view.slices {
            let found = slice.endpoints.iter().filter(|endpoint| endpoint.ready && endpoint_name(endpoint) == wanted);
            for endpoint in found {
                addresses.insert(endpoint.address);
                for port in &slice.ports {
                    let host = format!("{wanted}.{}.{}.svc", key.name, key.namespace);
                    ports.insert((port.port, host), endpoint.address);
                }
            }
        }
        match kind {
            _ if addresses.is_empty() => Answer::NxDomain,
            RecordType::SRV => self.ports(name, ports),
            _ => records(name, kind, addresses.into_iter().map(data), Vec::new()),
        }
    }

    fn pointer(&self, name: &Name, address: Ipv4Addr, kind: RecordType) -> Answer {
        let reverse = self.reverse.read();
        let Some(names) = reverse.names.get(&IpAddr::V4(address)) else {
            let ours = self.ranges.iter().any(|range| range.contains(&address));
            return if ours { Answer::NxDomain } else { Answer::Elsewhere };
        };
        let pointers = names.iter().filter_map(|(_, relative)| self.name(relative)).map(|host| RData::PTR(PTR(host)));
        records(name, kind, pointers, Vec::new())
    }

    /// A name below the zone; `None` if it is not a valid one.
    fn name(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(relative).ok()?.append_domain(&self.domain).ok()
    }
}

/// Where one port of a Service is; the number zero stands for a Service without ports.
struct Target<'a> {
    port: &'a str,
    protocol: &'static str,
    number: u16,
    host: String,
    address: IpAddr,
}

/// The cluster IPs of a Service, or, when it is headless, its ready endpoints.
fn targets<'a>(key: &Key, service: &'a Service, view: &'a View) -> Vec<Target<'a>> {
    let base = format!("{}.{}.svc", key.name, key.namespace);
    let mut targets = Vec::new();
    if !service.headless {
        for address in &service.cluster_ips {
            targets.extend(service.ports.iter().map(|it| Target {
                port: &it.name,
                protocol: protocol(it.protocol),
                number: it.port,
                host: base.clone(),
                address: *address,
            }));
        }
        return targets;
    }
    for slice in &view.slices {
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready) {
            let host = format!("{}.{base}", endpoint_name(endpoint));
            let address = endpoint.address;
            targets.extend(slice.ports.iter().map(|it| Target {
                port: &it.name,
                protocol: protocol(it.protocol),
                number: it.port,
                host: host.clone(),
                address,
            }));
            if slice.ports.is_empty() {
                targets.push(Target { port: "", protocol: "", number: 0, host, address });
            }
        }
    }
    targets
}

/// Which names addresses have: cluster IPs that of the Service, endpoints only with a hostname of their own.
fn reverse_names(key: &Key, view: &View) -> Vec<(IpAddr, String)> {
    let Some(service) = &view.service else { return Vec::new() };
    let base = format!("{}.{}.svc", key.name, key.namespace);
    let mut names: Vec<_> = service.cluster_ips.iter().map(|address| (*address, base.clone())).collect();
    for endpoint in view.slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready) {
        if let Some(hostname) = &endpoint.hostname {
            names.push((endpoint.address, format!("{}.{base}", hostname.to_lowercase())));
        }
    }
    names.sort();
    names.dedup();
    names
}

fn endpoint_name(endpoint: &Endpoint) -> String {
    match &endpoint.hostname {
        Some(hostname) => hostname.to_lowercase(),
        None => endpoint.address.to_string().replace(['.', ':'], "-"),
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

/// The records of the wanted type, of a name that exists.
fn records(name: &Name, kind: RecordType, all: impl IntoIterator<Item = RData>, additionals: Vec<Record>) -> Answer {
    let wanted = |data: &RData| kind == RecordType::ANY || data.record_type() == kind;
    let answers: Vec<_> = all.into_iter().filter(wanted).map(|data| record(name, data)).collect();
    if answers.is_empty() { Answer::NoData } else { Answer::Records { answers, additionals } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn zone() -> Zone {
        let services = Services::default();
        let put = |name: &str, spec: Json| {
            let object = json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
            services.put_service(Key::new("shop", name), Some(&serde_json::from_value(object).unwrap()));
        };
        let slice = |name: &str, endpoints: Json| {
            let object = json!({
                "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"name": "sql", "port": 5432}], "endpoints": endpoints,
            });
            services.put_slice(Key::new("shop", name), Some(&serde_json::from_value(object).unwrap()));
        };
        put("web", json!({"clusterIP": "10.43.0.5", "ports": [{"name": "http", "port": 80}]}));
        put("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
        put("empty", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}));
        put("away", json!({"type": "ExternalName", "externalName": "example.org"}));
        slice(
            "db",
            json!([
                {"addresses": ["10.42.0.2"], "hostname": "db-0"},
                {"addresses": ["10.42.0.3"]},
                {"addresses": ["10.42.0.4"], "conditions": {"ready": false}},
            ]),
        );
        let ranges = ["10.42.0.0/16".parse().unwrap(), "10.43.0.0/16".parse().unwrap()];
        let zone = Zone::new("cluster.local", [10, 43, 0, 10].into(), &ranges, services).unwrap();
        ["web", "db", "away"].into_iter().for_each(|name| zone.index(Key::new("shop", name)));
        zone
    }

    /// The answer in words: the records' data, or what there is instead.
    fn ask(name: &str, kind: RecordType) -> String {
        match zone().answer(&Name::from_ascii(name).unwrap(), kind) {
            Answer::Records { answers, .. } => {
                assert!(answers.iter().all(|it| it.ttl == TTL && it.name == Name::from_ascii(name).unwrap()));
                answers.iter().map(|it| it.data.to_string()).collect::<Vec<_>>().join(", ")
            }
            Answer::Alias { target, .. } => format!("alias {target}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn services() {
        assert_eq!(ask("web.shop.svc.cluster.local.", RecordType::A), "10.43.0.5");
        assert_eq!(ask("WEB.shop.svc.Cluster.Local.", RecordType::A), "10.43.0.5");
        assert_eq!(ask("web.shop.svc.cluster.local.", RecordType::AAAA), "NoData");
        assert_eq!(ask("web.other.svc.cluster.local.", RecordType::A), "NxDomain");
        assert_eq!(ask("nothing.shop.svc.cluster.local.", RecordType::A), "NxDomain");
        assert_eq!(ask("away.shop.svc.cluster.local.", RecordType::A), "alias example.org.");
        assert_eq!(ask("web.example.org.", RecordType::A), "Elsewhere");
    }

    #[test]
    fn headless_services_and_their_endpoints() {
        assert_eq!(ask("db.shop.svc.cluster.local.", RecordType::A), "10.42.0.2, 10.42.0.3");
        assert_eq!(ask("db.shop.svc.cluster.local.", RecordType::AAAA), "NoData");
        assert_eq!(ask("db-0.db.shop.svc.cluster.local.", RecordType::A), "10.42.0.2");
        assert_eq!(ask("10-42-0-3.db.shop.svc.cluster.local.", RecordType::A), "10.42.0.3");
        assert_eq!(ask("10-42-0-4.db.shop.svc.cluster.local.", RecordType::A), "NxDomain", "not ready");
        assert_eq!(ask("empty.shop.svc.cluster.local.", RecordType::A), "NxDomain");
    }

    #[test]
    fn ports() {
        let srv = |name| ask(name, RecordType::SRV);
        assert_eq!(srv("_http._tcp.web.shop.svc.cluster.local."), "0 100 80 web.shop.svc.cluster.local.");
        assert_eq!(srv("_http._udp.web.shop.svc.cluster.local."), "NxDomain");
        assert_eq!(
            srv("_sql._tcp.db.shop.svc.cluster.local."),
            "0 50 5432 10-42-0-3.db.shop.svc.cluster.local., 0 50 5432 db-0.db.shop.svc.cluster.local."
        );
        let name = Name::from_ascii("_sql._tcp.db.shop.svc.cluster.local.").unwrap();
        let Answer::Records { additionals, .. } = zone().answer(&name, RecordType::SRV) else { panic!() };
        assert_eq!(additionals.len(), 2, "the targets' addresses come along");
    }

    #[test]
    fn pods_and_the_zone_itself() {
        assert_eq!(ask("10-42-0-9.shop.pod.cluster.local.", RecordType::A), "10.42.0.9");
        assert_eq!(ask("x-42-0-9.shop.pod.cluster.local.", RecordType::A), "NxDomain");
        assert_eq!(ask("cluster.local.", RecordType::NS), "ns.dns.cluster.local.");
        assert_eq!(ask("ns.dns.cluster.local.", RecordType::A), "10.43.0.10");
        assert!(ask("cluster.local.", RecordType::SOA).starts_with("ns.dns.cluster.local."));
        assert_eq!(ask("dns-version.cluster.local.", RecordType::TXT), "1.1.0");
        assert_eq!(ask("shop.svc.cluster.local.", RecordType::A), "NoData");
        assert_eq!(ask("nowhere.svc.cluster.local.", RecordType::A), "NxDomain");
        assert_eq!(ask("svc.cluster.local.", RecordType::A), "NoData");
        assert_eq!(ask("a.b.c.d.e.f.cluster.local.", RecordType::A), "NxDomain");
    }

    #[test]
    fn addresses_back_to_names() {
        let ptr = |name| ask(name, RecordType::PTR);
        assert_eq!(ptr("5.0.43.10.in-addr.arpa."), "web.shop.svc.cluster.local.");
        assert_eq!(ptr("2.0.42.10.in-addr.arpa."), "db-0.db.shop.svc.cluster.local.");
        assert_eq!(ptr("3.0.42.10.in-addr.arpa."), "NxDomain", "no hostname");
        assert_eq!(ptr("1.2.0.192.in-addr.arpa."), "Elsewhere");
        let zone = zone();
        zone.services.put_service(Key::new("shop", "web"), None);
        zone.index(Key::new("shop", "web"));
        let name = Name::from_ascii("5.0.43.10.in-addr.arpa.").unwrap();
        assert_eq!(zone.answer(&name, RecordType::PTR), Answer::NxDomain);
    }
}
