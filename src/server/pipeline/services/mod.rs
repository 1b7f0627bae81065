//! Cluster addresses and node ports of Services: given out once, exactly, however many writes run at
//! the same time. Called by create and update just before an object is stored.
//!
//! A claim is remembered with the key of the Service it was made for. Nothing is ever given back: a
//! claim counts only while its write is under way or its Service, as stored, still has the value.

mod claims;
mod fields;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use tokio::sync::{Mutex, OnceCell};

use super::{Context, Reader};
use crate::api::field::{Error, Path};
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::store::Store;
use claims::{Claim, Claims};

/// Where addresses and ports come from.
#[derive(Clone, Debug)]
pub struct ServiceRanges {
    /// `--service-cidr`.
    pub cidr: Ipv4Net,
    /// `--service-node-port-range`.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceRanges {
    fn default() -> Self {
        let cidr = Ipv4Net::new_assert(Ipv4Addr::new(10, 43, 0, 0), 16);
        Self { cidr, node_ports: 30000..=32767 }
    }
}

pub(crate) struct Services {
    ranges: ServiceRanges,
    claims: OnceCell<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    ips: Claims<IpAddr>,
    ports: Claims<u16>,
}

/// The claims of one write; they end with it, and what was stored holds by itself.
#[derive(Default)]
pub(crate) struct Held {
    _claims: Vec<Claim>,
}

impl Services {
    pub fn new(ranges: ServiceRanges) -> Self {
        Self { ranges, claims: OnceCell::new() }
    }

    /// Keeps what a client left out of an update although the Service has it.
    pub fn inherit(new: &mut dyn Object, old: &dyn Object) {
        if let (Some(new), Some(old)) = (new.downcast_mut::<Service>(), old.downcast_ref::<Service>()) {
            fields::inherit(new, old);
        }
    }

    /// Fills in and claims the addresses and ports of a Service; nothing for other kinds.
    pub async fn claim(
        &self,
        context: &Context,
        store: &Arc<dyn Store>,
        object: &mut dyn Object,
        old: Option<&dyn Object>,
    ) -> Result<Held> {
        let Some(service) = object.downcast_mut::<Service>() else { return Ok(Held::default()) };
        let table = self.claims.get_or_try_init(|| load(store.as_ref())).await?;
        let mut table = table.lock().await;
        let name = service.metadata.name.clone().unwrap_or_default();
        let kind = context.kind.meta();
        let key: Arc<str> = kind.key(&context.namespace, &name).into();
        let request = Request { ranges: &self.ranges, store: store.as_ref(), key };
        let spec = service.spec.get_or_insert_with(Default::default);
        fields::clear_unneeded(spec);
        let old = old.and_then(|old| old.downcast_ref::<Service>());
        let mut errors = fields::families(spec, old.and_then(|old| old.spec.as_ref()));
        if !errors.is_empty() {
            return Err(Failure::invalid(kind.group_kind(), &name, &errors));
        }
        let mut held = Vec::new();
        request.addresses(spec, &mut table, &mut held, &mut errors)?;
        request.node_ports(spec, &mut table, &mut held, &mut errors)?;
        request.health_check_port(spec, &mut table, &mut held)?;
        match errors.is_empty() {
            true => Ok(Held { _claims: held }),
            false => Err(Failure::invalid(kind.group_kind(), &name, &errors)),
        }
    }
}

/// Everything that stored Services hold when the process starts.
async fn load(store: &dyn Store) -> Result<Mutex<Table>> {
    let mut table = Table::default();
    let kind = crate::server::catalog::catalog().find("", "v1", "services").ok_or_else(Failure::no_route)?;
    for service in Reader::new(store).list::<Service>("").await? {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let key: Arc<str> = kind.meta().key(namespace, name).into();
        let Some(spec) = &service.spec else { continue };
        fields::addresses(spec).for_each(|ip| table.ips.stored(ip, key.clone()));
        fields::ports(spec).for_each(|port| table.ports.stored(port, key.clone()));
    }
    Ok(Mutex::new(table))
}

/// One Service's wishes.
struct Request<'a> {
    ranges: &'a ServiceRanges,
    store: &'a dyn Store,
    key: Arc<str>,
}

impl Request<'_> {
    fn spec_of(&self, key: &str) -> Option<ServiceSpec> {
        let item = self.store.get(key)?;
        serde_json::from_slice::<Service>(&item.value).ok()?.spec
    }

    /// Whether a Service other than this one has the address.
    fn ip_taken(&self, table: &Table, ip: IpAddr) -> bool {
        let has = |key: &str| self.spec_of(key).is_some_and(|spec| fields::addresses(&spec).any(|found| found == ip));
        table.ips.taken(&ip, &self.key, has)
    }

    fn port_taken(&self, table: &Table, port: u16) -> bool {
        let has = |key: &str| self.spec_of(key).is_some_and(|spec| fields::ports(&spec).any(|found| found == port));
        table.ports.taken(&port, &self.key, has)
    }

    fn addresses(
        &self,
        spec: &mut ServiceSpec,
        table: &mut Table,
        held: &mut Vec<Claim>,
        errors: &mut Vec<Error>,
    ) -> Result<()> {
        if !fields::needs_address(spec) {
            return Ok(());
        }
        let cidr = self.ranges.cidr;
        let path = Path::new("spec").child("clusterIPs");
        let wanted = fields::wanted_address(spec).to_owned();
        let shown = serde_json::json!([wanted]);
        let ip = match wanted.parse::<IpAddr>() {
            Err(_) if wanted.is_empty() => {
                let free = free_address(cidr, |ip| self.ip_taken(table, ip.into()));
                let full = || Failure::internal("failed to allocate a serviceIP: range is full");
                IpAddr::V4(free.ok_or_else(full)?)
            }
            Err(_) => {
                let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.push(Error::invalid(&path.index(0), wanted, why));
                return Ok(());
            }
            Ok(ip) if !matches!(ip, IpAddr::V4(v4) if usable(cidr, v4)) => {
                let why = format!(
                    "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {cidr}"
                );
                errors.push(Error::invalid(&path, shown, why));
                return Ok(());
            }
            Ok(ip) if self.ip_taken(table, ip) => {
                let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
                errors.push(Error::invalid(&path, shown, why));
                return Ok(());
            }
            Ok(ip) => ip,
        };
        held.push(table.ips.claim(ip, self.key.clone()));
        fields::set_address(spec, ip);
        Ok(())
    }

    fn node_ports(
        &self,
        spec: &mut ServiceSpec,
        table: &mut Table,
        held: &mut Vec<Claim>,
        errors: &mut Vec<Error>,
    ) -> Result<()> {
        if !fields::needs_node_ports(spec) {
            return Ok(());
        }
        let range = self.ranges.node_ports.clone();
        // One port may serve several protocols of the same Service.
        let mut own: HashMap<u16, ()> = HashMap::new();
        let mut same_port: HashMap<i32, (u16, String)> = HashMap::new();
        for (at, port) in spec.ports.iter_mut().flatten().enumerate() {
            let protocol = port.protocol.clone().unwrap_or_default();
            let path = Path::new("spec").child("ports").index(at).child("nodePort");
            let given = match port.node_port.unwrap_or(0) {
                0 => match same_port.get(&port.port).filter(|(_, other)| *other != protocol) {
                    Some((shared, _)) => *shared,
                    None => {
                        let taken = |port: u16| own.contains_key(&port) || self.port_taken(table, port);
                        let full = || Failure::internal("failed to allocate a nodePort: range is full");
                        free_port(range.clone(), taken).ok_or_else(full)?
                    }
                },
                given => match u16::try_from(given).ok().filter(|port| range.contains(port)) {
                    None => {
                        let (low, high) = (range.start(), range.end());
                        let why = format!(
                            "provided port is not in the valid range. The range of valid ports is {low}-{high}"
                        );
                        errors.push(Error::invalid(&path, given, why));
                        continue;
                    }
                    Some(wanted) if self.port_taken(table, wanted) => {
                        errors.push(Error::invalid(&path, given, "provided port is already allocated"));
                        continue;
                    }
                    Some(wanted) => wanted,
                },
            };
            own.insert(given, ());
            same_port.insert(port.port, (given, protocol));
            port.node_port = Some(given.into());
            held.push(table.ports.claim(given, self.key.clone()));
        }
        Ok(())
    }

    /// Also a Service without node ports may need one.
    fn health_check_port(&self, spec: &mut ServiceSpec, table: &mut Table, held: &mut Vec<Claim>) -> Result<()> {
        if !fields::needs_health_port(spec) {
            return Ok(());
        }
        let own = |port: u16| spec.ports.iter().flatten().any(|one| one.node_port == Some(port.into()));
        let taken = |port: u16| own(port) || self.port_taken(table, port);
        let range = self.ranges.node_ports.clone();
        let port = health_port(spec.health_check_node_port.unwrap_or(0), range, taken)?;
        spec.health_check_node_port = Some(port.into());
        held.push(table.ports.claim(port, self.key.clone()));
        Ok(())
    }
}

/// The port at which load balancers ask for a Service's health: that asked for, or any.
fn health_port(given: i32, range: RangeInclusive<u16>, taken: impl Fn(u16) -> bool) -> Result<u16> {
    if given == 0 {
        let full = || Failure::internal("failed to allocate a HealthCheck NodePort 0: range is full");
        return free_port(range, taken).ok_or_else(full);
    }
    let refused =
        |why: String| Failure::internal(format!("failed to allocate requested HealthCheck NodePort {given}: {why}"));
    match u16::try_from(given).ok().filter(|port| range.contains(port)) {
        None => {
            let (low, high) = (range.start(), range.end());
            let why = format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
            Err(refused(why))
        }
        Some(port) if taken(port) => Err(refused("provided port is already allocated".to_owned())),
        Some(port) => Ok(port),
    }
}

/// Neither the network's own address nor its broadcast address.
fn usable(cidr: Ipv4Net, ip: Ipv4Addr) -> bool {
    cidr.contains(&ip) && ip != cidr.network() && ip != cidr.broadcast()
}

/// A random start, so that addresses are not reused at once.
fn random_below(bound: u32) -> u32 {
    let mut raw = [0u8; 4];
    // Without randomness the search begins at the start.
    let _ = getrandom::fill(&mut raw);
    u32::from_le_bytes(raw) % bound.max(1)
}

/// From the upper band first: the lower one is kept for addresses that people choose (KEP-3070).
fn free_address(cidr: Ipv4Net, taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
    let base = u32::from(cidr.network());
    let size = u32::from(cidr.broadcast()) - base;
    let usable = size.saturating_sub(1);
    let band = if usable < 16 { 0 } else { (usable / 16).clamp(16, 256).min(usable) };
    let find = |first: u32, count: u32| {
        let start = random_below(count);
        let mut offsets = (0..count).map(|step| first + (start + step) % count);
        offsets.find_map(|offset| Some(Ipv4Addr::from(base + 1 + offset)).filter(|ip| !taken(*ip)))
    };
    find(band, usable - band).or_else(|| find(0, band))
}

/// Ports have a lower band too (KEP-3668).
fn free_port(range: RangeInclusive<u16>, taken: impl Fn(u16) -> bool) -> Option<u16> {
    let first = u32::from(*range.start());
    let count = u32::from(*range.end()).saturating_sub(first) + 1;
    let band = if count < 16 { 0 } else { (count / 32).clamp(16, 128).min(count) };
    let find = |from: u32, count: u32| {
        let start = random_below(count);
        let mut ports = (0..count).map(|step| from + (start + step) % count);
        ports.find_map(|port| u16::try_from(port).ok().filter(|port| !taken(*port)))
    };
    find(first + band, count - band).or_else(|| find(first, band))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_range_is_found_and_no_other() {
        let cidr: Ipv4Net = "10.0.0.0/28".parse().unwrap();
        let mut found = std::collections::BTreeSet::new();
        while let Some(ip) = free_address(cidr, |ip| found.contains(&ip)) {
            assert!(found.insert(ip) && usable(cidr, ip));
        }
        assert_eq!(found.len(), 14);
        let mut ports = std::collections::BTreeSet::new();
        while let Some(port) = free_port(30000..=30063, |port| ports.contains(&port)) {
            ports.insert(port);
        }
        assert_eq!(ports.len(), 64);
    }
}
