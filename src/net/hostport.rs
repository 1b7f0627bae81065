//! Pods' host ports: a port of the node leads to a container. Pure: extends a table with the rules; called by the
//! agent, which knows the pods.

use std::net::Ipv4Addr;

use crate::net::nft::model::{
    Chain, Column, Element, Field, HookKind, LOCAL, Point, Protocol, Set, SetKind, Statement, TRANSLATED, Table, Value,
    Verdict,
};

/// One port of one container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Only this address of the host; `None` is every one, loopback for the host's own processes only.
    pub host_address: Option<Ipv4Addr>,
    pub protocol: Protocol,
    pub host_port: u16,
    pub pod_address: Ipv4Addr,
    pub container_port: u16,
}

const PORTS: &str = "host-ports";
const PODS: &str = "host-port-pods";

/// Adds the rules for these ports. When two claim the same one, the scheduler has erred; the first keeps it.
pub fn extend<'a>(table: &mut Table, ports: impl IntoIterator<Item = &'a HostPort>) {
    let endpoint = vec![Column::Address, Column::Port];
    let mut map = Set::new(SetKind::Map(endpoint), &[Column::Address, Column::Protocol, Column::Port]);
    let mut pods = Set::new(SetKind::Members, &[Column::Address, Column::Address]);
    for it in ports {
        let address = it.host_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let key = Value::EMPTY.address(address).protocol(it.protocol).port(it.host_port);
        let target = Value::EMPTY.address(it.pod_address).port(it.container_port);
        map.elements.entry(key).or_insert(Element::Value(target));
        pods.elements.insert(Value::EMPTY.address(it.pod_address).address(it.pod_address), Element::Member);
    }
    table.sets.insert(PORTS.into(), map);
    table.sets.insert(PODS.into(), pods);
    let look_up = |address| Statement::Translate {
        key: vec![address, Field::TransportProtocol, Field::DestinationPort],
        map: PORTS.into(),
    };
    let local = || Statement::is(Field::DestinationKind, LOCAL.to_ne_bytes());
    let loopback = |field, equal| Statement::Match { field, mask: [255, 0, 0, 0], equal, value: [127, 0, 0, 0] };
    let anywhere = || look_up(Field::Constant([0; 4]));
    let exact = || vec![Statement::ipv4(), local(), look_up(Field::DestinationAddress)];
    let arriving =
        vec![exact(), vec![Statement::ipv4(), local(), loopback(Field::DestinationAddress, false), anywhere()]];
    let own = vec![exact(), vec![Statement::ipv4(), local(), anywhere()]];
    let pod = |source, destination| Statement::Member { key: vec![source, destination], set: PODS.into() };
    let translated = || Statement::has_bits(Field::ConnectionStatus, TRANSLATED);
    let (source, destination) = (Field::SourceAddress, Field::DestinationAddress);
    // A pod that reaches itself through the node needs another source address, and so does the host's loopback.
    let itself = vec![Statement::ipv4(), translated(), pod(source, destination), Statement::Masquerade];
    let from_loopback = vec![
        Statement::ipv4(),
        translated(),
        loopback(source, true),
        pod(destination, destination),
        Statement::Masquerade,
    ];
    // The links of these pods route loopback addresses: only answers may come that way.
    let not_translated =
        Statement::Match { field: Field::ConnectionStatus, mask: TRANSLATED.to_ne_bytes(), equal: true, value: [0; 4] };
    let intruder = vec![
        Statement::ipv4(),
        loopback(Field::DestinationAddress, true),
        loopback(Field::SourceAddress, false),
        Statement::is_not(Field::SourceKind, LOCAL.to_ne_bytes()),
        not_translated,
        Statement::Verdict(Verdict::Drop),
    ];
    let nat = |point, priority, rules| Chain::hooked(HookKind::Nat, point, priority, rules);
    // Before the service proxy's, which knows nothing of these ports.
    table.chains.insert("host-ports-prerouting".into(), nat(Point::Prerouting, -101, arriving));
    table.chains.insert("host-ports-output".into(), nat(Point::Output, -101, own));
    table.chains.insert("host-ports-postrouting".into(), nat(Point::Postrouting, 100, vec![itself, from_loopback]));
    let guard = Chain::hooked(HookKind::Filter, Point::Input, 0, vec![intruder]);
    table.chains.insert("host-ports-guard".into(), guard);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::nft::trace::{Fate, Packet, at};

    #[test]
    fn a_port_of_the_node_leads_to_the_container() {
        let host = [192, 0, 2, 1];
        let web = HostPort {
            host_address: None,
            protocol: Protocol::Tcp,
            host_port: 8080,
            pod_address: [10, 42, 0, 2].into(),
            container_port: 80,
        };
        let other = HostPort { pod_address: [10, 42, 0, 3].into(), ..web.clone() };
        let narrow = HostPort { host_address: Some(host.into()), host_port: 443, ..other.clone() };
        let mut table = Table::default();
        extend(&mut table, [&web, &other, &narrow]);
        let mut send = |from, to, port| {
            let mut packet =
                Packet { local: [host.into(), [192, 0, 2, 2].into()].into(), ..Packet::tcp(from, to, port) };
            (at(&mut table, Point::Prerouting, &mut packet), at(&mut table, Point::Postrouting, &mut packet))
        };
        let to = |last| Fate::Translated([10, 42, 0, last].into(), 80);
        assert_eq!(send([198, 51, 100, 1], host, 8080), (to(2), Fate::Passes));
        assert_eq!(send([10, 42, 0, 2], host, 8080), (to(2), Fate::Masqueraded));
        assert_eq!(send([198, 51, 100, 1], host, 443).0, to(3));
        assert_eq!(send([198, 51, 100, 1], [192, 0, 2, 2], 443).0, Fate::Passes, "another address of the host");
        assert_eq!(send([10, 42, 0, 9], [198, 51, 100, 1], 8080).0, Fate::Passes, "another host");
        assert_eq!(send([127, 0, 0, 1], [127, 0, 0, 1], 8080).0, Fate::Passes, "it cannot have arrived");

        let mut own = Packet::tcp([127, 0, 0, 1], [127, 0, 0, 1], 8080);
        assert_eq!(at(&mut table, Point::Output, &mut own), to(2));
        assert_eq!(at(&mut table, Point::Postrouting, &mut own), Fate::Masqueraded);
        let mut sneaky = Packet::tcp([10, 42, 0, 2], [127, 0, 0, 1], 22);
        assert_eq!(at(&mut table, Point::Input, &mut sneaky), Fate::Dropped);
        let mut innocent = Packet::tcp([127, 0, 0, 1], [127, 0, 0, 1], 22);
        assert_eq!(at(&mut table, Point::Input, &mut innocent), Fate::Passes);
    }
}
