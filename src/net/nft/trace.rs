//! Follows a packet through rules as data, so that tests can say what a ruleset means instead of how it is written.
//! Pure and only for tests.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::net::nft::model::{Element, Field, Name, Point, Protocol, Statement, Table, Value, Verdict};

/// The first packet of a connection.
#[derive(Clone, Debug)]
pub struct Packet {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: Protocol,
    pub port: u16,
    pub mark: u32,
    /// The host's own addresses.
    pub local: BTreeSet<Ipv4Addr>,
    /// What the random generator gives.
    pub random: u32,
    pub translated: bool,
}

impl Packet {
    pub fn tcp(source: [u8; 4], destination: [u8; 4], port: u16) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            protocol: Protocol::Tcp,
            port,
            mark: 0,
            local: BTreeSet::new(),
            random: 0,
            translated: false,
        }
    }
}

/// What becomes of a packet at one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    Dropped,
    Rejected,
    Masqueraded,
    Translated(Ipv4Addr, u16),
}

enum Step {
    NextStatement,
    NextRule,
    End(Fate),
    Return,
}

/// The fate at a hook; the packet is changed as the rules say.
pub fn at(table: &mut Table, point: Point, packet: &mut Packet) -> Fate {
    let mut chains: Vec<_> = table
        .chains
        .iter()
        .filter_map(|(name, chain)| chain.hook.filter(|hook| hook.point == point).map(|hook| (hook.priority, name)))
        .map(|(priority, name)| (priority, name.clone()))
        .collect();
    chains.sort();
    let mut fate = Fate::Passes;
    for (_, name) in chains {
        match walk(table, &name, packet) {
            Step::End(Fate::Passes) | Step::NextRule | Step::NextStatement | Step::Return => {}
            Step::End(end @ (Fate::Dropped | Fate::Rejected)) => return end,
            Step::End(end) => fate = end,
        }
    }
    fate
}

fn walk(table: &mut Table, chain: &Name, packet: &mut Packet) -> Step {
    let rules = table.chains.get(chain).unwrap_or_else(|| panic!("no chain {chain}")).rules.clone();
    for rule in rules {
        for statement in rule {
            match run(table, &statement, packet) {
                Step::NextStatement => {}
                Step::NextRule => break,
                end => return end,
            }
        }
    }
    Step::Return
}

fn run(table: &mut Table, statement: &Statement, packet: &mut Packet) -> Step {
    match statement {
        Statement::Match { field, mask, equal, value } => {
            let read = read(packet, *field);
            let masked: Vec<u8> = read.iter().zip(mask).map(|(byte, mask)| byte & mask).collect();
            if (masked == value) == *equal { Step::NextStatement } else { Step::NextRule }
        }
        Statement::Member { key, set } => {
            let found = find(table, set, key_of(packet, key));
            if found.is_some() { Step::NextStatement } else { Step::NextRule }
        }
        Statement::VerdictMap { key, map } => match find(table, map, key_of(packet, key)) {
            Some(Element::Verdict(verdict)) => follow(table, &verdict, packet),
            _ => Step::NextRule,
        },
        Statement::Translate { key, map } => match find(table, map, key_of(packet, key)) {
            Some(Element::Value(to)) => translate(packet, to),
            _ => Step::NextRule,
        },
        Statement::TranslateAsBefore { key, identities, learned, valid, list, .. } => {
            let Some(Element::Value(identity)) = find(table, identities, key_of(packet, key)) else {
                return Step::NextRule;
            };
            let Some(Element::Value(to)) = find(table, learned, join(of_client(packet), identity)) else {
                return Step::NextRule;
            };
            if find(table, valid, join(identity, to).number(*list)).is_none() {
                return Step::NextRule;
            }
            translate(packet, to)
        }
        Statement::TranslateAndLearn { key, identities, choice, map, learned, .. } => {
            let Some(Element::Value(identity)) = find(table, identities, key_of(packet, key)) else {
                return Step::NextRule;
            };
            let chosen = key_of(packet, key).column(read(packet, *choice));
            let Some(Element::Value(to)) = find(table, map, chosen) else { return Step::NextRule };
            let client = join(of_client(packet), identity);
            table.sets.get_mut(learned).unwrap().elements.insert(client, Element::Value(to));
            translate(packet, to)
        }
        Statement::MarkSet(bits) => {
            packet.mark |= bits;
            Step::NextStatement
        }
        Statement::MarkClear(bits) => {
            packet.mark &= !bits;
            Step::NextStatement
        }
        Statement::Masquerade => Step::End(Fate::Masqueraded),
        Statement::RejectWithReset | Statement::RejectUnreachable => Step::End(Fate::Rejected),
        Statement::Verdict(verdict) => follow(table, verdict, packet),
    }
}

fn follow(table: &mut Table, verdict: &Verdict, packet: &mut Packet) -> Step {
    match verdict {
        Verdict::Accept => Step::End(Fate::Passes),
        Verdict::Drop => Step::End(Fate::Dropped),
        Verdict::Return => Step::Return,
        Verdict::Goto(chain) => walk(table, chain, packet),
        Verdict::Jump(chain) => match walk(table, chain, packet) {
            Step::Return => Step::NextRule,
            end => end,
        },
    }
}

fn translate(packet: &mut Packet, to: Value) -> Step {
    let bytes = to.as_bytes();
    packet.destination = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
    packet.port = u16::from_be_bytes([bytes[4], bytes[5]]);
    packet.translated = true;
    Step::End(Fate::Translated(packet.destination, packet.port))
}

fn find(table: &Table, set: &Name, key: Value) -> Option<Element> {
    let set = table.sets.get(set).unwrap_or_else(|| panic!("no set {set}"));
    assert_eq!(set.key.len() * 4, key.as_bytes().len(), "the key has the set's shape");
    set.elements.get(&key).cloned()
}

fn key_of(packet: &Packet, key: &[Field]) -> Value {
    key.iter().fold(Value::EMPTY, |value, field| value.column(read(packet, *field)))
}

fn of_client(packet: &Packet) -> Value {
    Value::EMPTY.address(packet.source)
}

fn join(first: Value, second: Value) -> Value {
    second.as_bytes().chunks(4).fold(first, |value, column| value.column(column.try_into().unwrap()))
}

fn read(packet: &Packet, field: Field) -> [u8; 4] {
    let kind = |address: Ipv4Addr| {
        let local = packet.local.contains(&address) || address.is_loopback();
        if local { 2u32 } else { 1 }.to_ne_bytes()
    };
    match field {
        Field::SourceAddress => packet.source.octets(),
        Field::DestinationAddress => packet.destination.octets(),
        Field::TransportProtocol => [packet.protocol.number(), 0, 0, 0],
        Field::DestinationPort => {
            let [high, low] = packet.port.to_be_bytes();
            [high, low, 0, 0]
        }
        Field::NetworkProtocol => [2, 0, 0, 0],
        Field::Mark => packet.mark.to_ne_bytes(),
        Field::ConnectionState => 8u32.to_ne_bytes(),
        Field::ConnectionStatus => if packet.translated { 0x20u32 } else { 0 }.to_ne_bytes(),
        Field::DestinationKind => kind(packet.destination),
        Field::SourceKind => kind(packet.source),
        Field::Random { modulus, offset } => (packet.random % modulus + offset).to_ne_bytes(),
        Field::Constant(bytes) => bytes,
    }
}
