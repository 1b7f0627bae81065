//! The cluster's names, by the Kubernetes DNS specification 1.1.0: Services, their ports, endpoints of Services, pods
//! by address, and addresses back to names. Pure but for the lean copy of Services that it reads.
//!
//! Where the specification leaves a choice it is CoreDNS': endpoints without a hostname are called by their address
//! with dashes, SRV weights share a hundred, every endpoint has a reverse name. Pods' names are answered without
//! looking whether there is such a pod (`pods insecure`): to know every pod, each node would have to watch them all. A
//! namespace exists for DNS while it holds a Service.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use ipnet::Ipv4Net;

use super::index::Index;
use super::labels;
use super::message::Reply;
use crate::agent::services::{Endpoint, Key, Service, Services, View};
use crate::net::nft::model::Protocol;

/// Seconds. CoreDNS' own default is 5; 30 is what its usual configuration (kubeadm's) says, and what clients see.
pub const TTL: u32 = 30;
/// Of the schema's version, as in the specification's example.
const VERSION_TTL: u32 = 28_800;
const VERSION: &str = "1.1.0";

/// What the cluster knows of a name.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Here(Reply),
    Alias {
        record: Box<Record>,
        target: Name,
    },
    /// Not a name of the cluster.
    Elsewhere,
}

/// What is known of a name of the zone.
enum Known {
    Nothing,
    /// All its records; whether one is of the wanted type is decided later.
    Records(Vec<RData>),
    Ports(Vec<Target>),
    External(String),
}

pub struct Zone {
    domain: Name,
    labels: Vec<String>,
    address: Ipv4Addr,
    ranges: Vec<Ipv4Net>,
    services: Services,
    index: Index,
}

impl Zone {
    pub fn new(domain: &str, address: Ipv4Addr, ranges: &[Ipv4Net], services: Services) -> Result<Self, ProtoError> {
        let mut domain = Name::from_ascii(domain)?.to_lowercase();
        domain.set_fqdn(true);
        let labels = labels(&domain);
        Ok(Self { domain, labels, address, ranges: ranges.to_vec(), services, index: Index::default() })
    }

    pub fn domain(&self) -> &Name {
        &self.domain
    }

    /// Takes a Service's addresses as they are now.
    pub fn index(&self, key: Key) {
        let view = self.services.get(&key);
        self.index.put(key, &view);
    }

    pub fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        let all = labels(name);
        if let Some(relative) = all.strip_suffix(&*self.labels) {
            let relative: Vec<&str> = relative.iter().map(String::as_str).collect();
            return self.cluster(name, &relative, kind);
        }
        // Only a whole address has a name.
        let address = name.parse_arpa_name().ok().filter(|net| net.prefix_len() == net.max_prefix_len());
        address.map_or(Answer::Elsewhere, |net| self.pointer(name, net.addr(), kind))
    }

    fn cluster(&self, name: &Name, relative: &[&str], kind: RecordType) -> Answer {
        if relative.is_empty() {
            return Answer::Here(self.apex(name, kind));
        }
        let reply = match self.known(relative, kind) {
            Known::Nothing => negative(ResponseCode::NXDomain, self.soa(&self.domain)),
            Known::Ports(targets) => self.ports(name, targets),
            Known::Records(all) => {
                let wanted = all.into_iter().filter(|data| data.record_type() == kind);
                let ttl = if kind == RecordType::TXT { VERSION_TTL } else { TTL };
                let answers: Vec<_> = wanted.map(|data| Record::from_rdata(name.clone(), ttl, data)).collect();
                self.positive(answers, Vec::new())
            }
            Known::External(external) => match alias(name, &external) {
                Some(alias) => return alias,
                None => negative(ResponseCode::NXDomain, self.soa(&self.domain)),
            },
        };
        Answer::Here(reply)
    }

    fn known(&self, relative: &[&str], kind: RecordType) -> Known {
        let exists = |yes: bool| if yes { Known::Records(Vec::new()) } else { Known::Nothing };
        match relative {
            ["dns-version"] => Known::Records(vec![RData::TXT(TXT::new(vec![VERSION.to_owned()]))]),
            // They lead to names below. Under every `<namespace>.pod` there are names of pods.
            ["dns" | "svc" | "pod"] | [_, "pod"] => exists(true),
            ["ns", "dns"] => Known::Records(vec![RData::A(A(self.address))]),
            [namespace, "svc"] => exists(self.index.has_namespace(namespace)),
            [dashed, _namespace, "pod"] => match dashed_address(dashed) {
                Some(address) => Known::Records(vec![data(address)]),
                None => Known::Nothing,
            },
            [service, namespace, "svc"] => self.service(&Key::new(namespace, service), |_| true, kind),
            [endpoint, service, namespace, "svc"] => self.endpoint(&Key::new(namespace, service), endpoint, kind),
            [port, protocol, service, namespace, "svc"] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
                // A port without a name has no record of its own.
                (Some(port), Some(protocol)) if !port.is_empty() => {
                    let wanted = |it: &Target| it.port == port && it.protocol == protocol;
                    self.service(&Key::new(namespace, service), wanted, kind)
                }
                _ => Known::Nothing,
            },
            _ => Known::Nothing,
        }
    }

    /// A Service, or those of its ports that are wanted.
    fn service(&self, key: &Key, wanted: impl Fn(&Target) -> bool, kind: RecordType) -> Known {
        let view = self.services.get(key);
        let Some(service) = &view.service else { return Known::Nothing };
        if let Some(external) = &service.external_name {
            return Known::External(external.clone());
        }
        let targets = if service.headless { endpoints(key, &view, |_| true) } else { cluster_ips(key, service) };
        found(targets.into_iter().filter(wanted).collect(), kind)
    }

    /// One endpoint of a Service, by its hostname or its address with dashes.
    fn endpoint(&self, key: &Key, wanted: &str, kind: RecordType) -> Known {
        if let Some(protocol) = wanted.strip_prefix('_') {
            // `_tcp.<service>` only leads to the ports' names.
            let of_protocol = self.service(key, |it| it.protocol == protocol && !it.port.is_empty(), kind);
            return match of_protocol {
                Known::Nothing => Known::Nothing,
                _ => Known::Records(Vec::new()),
            };
        }
        let view = self.services.get(key);
        if view.service.is_none() {
            return Known::Nothing;
        }
        found(endpoints(key, &view, |endpoint| endpoint_name(endpoint) == wanted), kind)
    }

    fn ports(&self, name: &Name, targets: Vec<Target>) -> Reply {
        // Targets share a hundred, as CoreDNS divides it.
        let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(1).max(1);
        let mut seen = (BTreeSet::new(), BTreeSet::new());
        let (mut answers, mut additionals) = (Vec::new(), Vec::new());
        for it in targets.into_iter().filter(|it| it.number != 0) {
            let Some(target) = self.name(&it.host) else { continue };
            if seen.1.insert((it.host.clone(), it.address)) {
                additionals.push(record(&target, data(it.address)));
            }
            if seen.0.insert((it.host, it.number)) {
                answers.push(record(name, RData::SRV(SRV::new(0, weight, it.number, target))));
            }
        }
        self.positive(answers, additionals)
    }

    fn apex(&self, name: &Name, kind: RecordType) -> Reply {
        match (kind, self.name("ns.dns")) {
            (RecordType::SOA, _) => self.positive(vec![self.soa(name)], Vec::new()),
            (RecordType::NS, Some(server)) => {
                let glue = record(&server, RData::A(A(self.address)));
                self.positive(vec![record(name, RData::NS(NS(server)))], vec![glue])
            }
            _ => self.positive(Vec::new(), Vec::new()),
        }
    }

    fn pointer(&self, name: &Name, address: IpAddr, kind: RecordType) -> Answer {
        let (services, endpoints) = self.index.owners(address);
        let hosts: BTreeSet<String> = if services.is_empty() {
            endpoints.iter().flat_map(|key| endpoints_at(key, &self.services.get(key), address)).collect()
        } else {
            services.iter().map(base).collect()
        };
        let zone = name.trim_to(2);
        if hosts.is_empty() {
            let ours =
                matches!(address, IpAddr::V4(address) if self.ranges.iter().any(|range| range.contains(&address)));
            let nothing = || Answer::Here(negative(ResponseCode::NXDomain, self.soa(&zone)));
            return if ours { nothing() } else { Answer::Elsewhere };
        }
        if kind != RecordType::PTR {
            return Answer::Here(negative(ResponseCode::NoError, self.soa(&zone)));
        }
        let hosts = hosts.iter().filter_map(|relative| self.name(relative));
        Answer::Here(self.positive(hosts.map(|host| record(name, RData::PTR(PTR(host)))).collect(), Vec::new()))
    }

    fn soa(&self, zone: &Name) -> Record {
        let name = |prefix: &str| self.name(prefix).unwrap_or_else(|| self.domain.clone());
        let data = SOA::new(name("ns.dns"), name("hostmaster"), self.index.serial(), 7200, 1800, 86400, TTL);
        record(zone, RData::SOA(data))
    }

    /// The records, or that the name has none of this type.
    fn positive(&self, answers: Vec<Record>, additionals: Vec<Record>) -> Reply {
        if answers.is_empty() {
            return negative(ResponseCode::NoError, self.soa(&self.domain));
        }
        Reply { authoritative: true, answers, additionals, ..Reply::default() }
    }

    /// A name below the zone; `None` if it is not a valid one.
    fn name(&self, relative: &str) -> Option<Name> {
        Name::from_ascii(relative).ok()?.append_domain(&self.domain).ok()
    }
}

/// Nothing, and how long a client may remember that.
fn negative(code: ResponseCode, soa: Record) -> Reply {
    Reply { code, authoritative: true, authorities: vec![soa], ..Reply::default() }
}

/// Where one port of a Service is; the number zero stands for a Service without ports.
struct Target {
    port: String,
    protocol: &'static str,
    number: u16,
    host: String,
    address: IpAddr,
}

fn found(targets: Vec<Target>, kind: RecordType) -> Known {
    match kind {
        _ if targets.is_empty() => Known::Nothing,
        RecordType::SRV => Known::Ports(targets),
        _ => {
            let addresses: BTreeSet<IpAddr> = targets.iter().map(|it| it.address).collect();
            Known::Records(addresses.into_iter().map(data).collect())
        }
    }
}

/// `<service>.<namespace>.svc`
fn base(key: &Key) -> String {
    format!("{}.{}.svc", key.name, key.namespace)
}

fn cluster_ips(key: &Key, service: &Service) -> Vec<Target> {
    let mut targets = Vec::new();
    for address in &service.cluster_ips {
        targets.extend(service.ports.iter().map(|it| Target {
            port: it.name.to_ascii_lowercase(),
            protocol: protocol(it.protocol),
            number: it.port,
            host: base(key),
            address: *address,
        }));
    }
    targets
}

/// The ready ones of a Service's endpoints (all, where it publishes those that are not ready: their slices say so).
fn endpoints(key: &Key, view: &View, wanted: impl Fn(&Endpoint) -> bool) -> Vec<Target> {
    let base = base(key);
    let mut targets = Vec::new();
    for slice in &view.slices {
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.ready && wanted(endpoint)) {
            let host = format!("{}.{base}", endpoint_name(endpoint));
            let address = endpoint.address;
            targets.extend(slice.ports.iter().map(|it| Target {
                port: it.name.to_ascii_lowercase(),
                protocol: protocol(it.protocol),
                number: it.port,
                host: host.clone(),
                address,
            }));
            if slice.ports.is_empty() {
                targets.push(Target { port: String::new(), protocol: "", number: 0, host, address });
            }
        }
    }
    targets
}

/// What a Service's ready endpoints with this address are called.
fn endpoints_at(key: &Key, view: &View, address: IpAddr) -> Vec<String> {
    let here = endpoints(key, view, |endpoint| endpoint.address == address);
    here.into_iter().map(|target| target.host).collect()
}

/// An external name leads elsewhere; an address is none, though it may look like one.
fn alias(name: &Name, external: &str) -> Option<Answer> {
    if external.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut target = Name::from_ascii(external).ok()?;
    target.set_fqdn(true);
    Some(Answer::Alias { record: Box::new(record(name, RData::CNAME(CNAME(target.clone())))), target })
}

/// `10-42-0-9`, or an IPv6 address with dashes for colons.
fn dashed_address(text: &str) -> Option<IpAddr> {
    if text.matches('-').count() == 3 && !text.contains("--") {
        return text.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    text.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
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

pub fn data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
