//! Rules as the kernel's nf_tables messages (linux/netfilter/nf_tables.h). Every statement loads its fields into
//! consecutive four-byte registers and lets one or two expressions work on them. Pure.

use crate::net::netlink::attributes::Writer;
use crate::net::nft::diff::Change;
use crate::net::nft::model::{
    Chain, Column, Element, Field, Hook, HookKind, Point, Rule, Set, SetKind, Statement, Value, Verdict,
};

/// Message types of the nf_tables subsystem.
pub mod message {
    const SUBSYSTEM: u16 = 10 << 8;
    pub const NEW_TABLE: u16 = SUBSYSTEM;
    pub const GET_TABLE: u16 = SUBSYSTEM | 1;
    pub const DELETE_TABLE: u16 = SUBSYSTEM | 2;
    pub const NEW_CHAIN: u16 = SUBSYSTEM | 3;
    pub const GET_CHAIN: u16 = SUBSYSTEM | 4;
    pub const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
    pub const NEW_RULE: u16 = SUBSYSTEM | 6;
    pub const DELETE_RULE: u16 = SUBSYSTEM | 8;
    pub const NEW_SET: u16 = SUBSYSTEM | 9;
    pub const DELETE_SET: u16 = SUBSYSTEM | 11;
    pub const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
    pub const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;
}

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
pub const INET: u8 = 1;
const LIST_ELEMENT: u16 = 1;
/// The first four-byte register.
const R0: u32 = 8;
/// Elements in one message: the list's length must fit 16 bits.
const ELEMENTS_AT_ONCE: usize = 400;
/// How many clients' choices are remembered; beyond that, new ones are not.
const LEARNED_AT_MOST: u32 = 65_536;

/// One message of a transaction.
pub struct Message {
    pub kind: u16,
    pub flags: u16,
    pub body: Vec<u8>,
}

pub fn table(name: &str, kind: u16) -> Message {
    let mut body = Writer::netfilter(INET, 0);
    body.string(1, name);
    Message { kind, flags: if kind == message::NEW_TABLE { CREATE } else { 0 }, body: body.into_bytes() }
}

/// The messages for changes of a table; neighbouring element changes of one set share messages.
pub fn changes(table: &str, changes: &[Change]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = changes;
    while let Some(first) = rest.first() {
        let run = match element_of(first) {
            Some((kind, set, ..)) => {
                let same = |c: &&Change| element_of(c).is_some_and(|(k, s, ..)| k == kind && s == set);
                let run = rest.iter().take(ELEMENTS_AT_ONCE).take_while(same).count();
                messages.push(elements(table, kind, set, rest[..run].iter().filter_map(element_of)));
                run
            }
            None => {
                one(table, first, &mut messages);
                1
            }
        };
        rest = &rest[run..];
    }
    messages
}

fn one(table: &str, change: &Change, messages: &mut Vec<Message>) {
    let mut push = |kind, flags, name: &str, attribute| {
        let mut body = Writer::netfilter(INET, 0);
        body.string(1, table).string(attribute, name);
        messages.push(Message { kind, flags, body: body.into_bytes() });
    };
    match change {
        Change::FlushRules(name) => push(message::DELETE_RULE, 0, name, 2),
        Change::RemoveChain(name) => push(message::DELETE_CHAIN, 0, name, 3),
        Change::RemoveSet(name) => push(message::DELETE_SET, 0, name, 2),
        Change::AddSet(name, set) => {
            let id = u32::try_from(messages.len()).unwrap_or(u32::MAX);
            messages.push(new_set(table, name, set, id));
        }
        Change::AddChain(name, chain) => messages.push(new_chain(table, name, chain.hook)),
        Change::AddRules(name, Chain { rules, .. }) => {
            messages.extend(rules.iter().map(|rule| new_rule(table, name, rule)));
        }
        Change::AddElement(..) | Change::RemoveElement(..) => {}
    }
}

fn new_set(table: &str, name: &str, set: &Set, id: u32) -> Message {
    const MAP: u32 = 0x8;
    const TIMEOUT: u32 = 0x10;
    const EVALUATED: u32 = 0x20;
    const VERDICT_TYPE: u32 = 0xffff_ff00;
    let mut body = Writer::netfilter(INET, 0);
    let flags = match &set.kind {
        SetKind::Members => 0,
        SetKind::Map(_) | SetKind::Verdicts => MAP,
        SetKind::Learned(_) => MAP | TIMEOUT | EVALUATED,
    };
    body.string(1, table).string(2, name).number(3, flags);
    body.number(4, type_of(&set.key)).number(5, width(&set.key)).number(10, id);
    match &set.kind {
        SetKind::Members => {}
        SetKind::Verdicts => {
            body.number(6, VERDICT_TYPE);
        }
        SetKind::Map(value) | SetKind::Learned(value) => {
            body.number(6, type_of(value)).number(7, width(value));
        }
    }
    if matches!(set.kind, SetKind::Learned(_)) {
        body.nest(9, |description| {
            description.number(1, LEARNED_AT_MOST);
        });
    }
    Message { kind: message::NEW_SET, flags: CREATE, body: body.into_bytes() }
}

/// The nft program's datatype numbers, six bits a column: only for people who list our tables.
fn type_of(columns: &[Column]) -> u32 {
    columns.iter().fold(0, |all, column| {
        let one = match column {
            Column::Address => 7,
            Column::Protocol => 12,
            Column::Port => 13,
            Column::Number => 19,
        };
        all << 6 | one
    })
}

fn width(columns: &[Column]) -> u32 {
    u32::try_from(columns.len() * 4).unwrap_or(u32::MAX)
}

fn new_chain(table: &str, name: &str, hook: Option<Hook>) -> Message {
    let mut body = Writer::netfilter(INET, 0);
    body.string(1, table).string(3, name);
    if let Some(hook) = hook {
        let point = match hook.point {
            Point::Prerouting => 0,
            Point::Input => 1,
            Point::Forward => 2,
            Point::Output => 3,
            Point::Postrouting => 4,
        };
        body.nest(4, |it| {
            it.number(1, point).number(2, hook.priority.cast_unsigned());
        });
        body.string(7, if hook.kind == HookKind::Nat { "nat" } else { "filter" });
    }
    Message { kind: message::NEW_CHAIN, flags: CREATE, body: body.into_bytes() }
}

fn new_rule(table: &str, chain: &str, rule: &Rule) -> Message {
    let mut body = Writer::netfilter(INET, 0);
    body.string(1, table).string(2, chain).nest(4, |list| rule.iter().for_each(|s| statement(list, s)));
    Message { kind: message::NEW_RULE, flags: CREATE | APPEND, body: body.into_bytes() }
}

type ElementChange<'a> = (u16, &'a str, &'a Value, &'a Element);

fn element_of(change: &Change) -> Option<ElementChange<'_>> {
    match change {
        Change::AddElement(set, key, element) => Some((message::NEW_ELEMENTS, set, key, element)),
        Change::RemoveElement(set, key, element) => Some((message::DELETE_ELEMENTS, set, key, element)),
        _ => None,
    }
}

fn elements<'a>(table: &str, kind: u16, set: &str, elements: impl Iterator<Item = ElementChange<'a>>) -> Message {
    let mut body = Writer::netfilter(INET, 0);
    body.string(1, table).string(2, set).nest(3, |list| {
        for (_, _, key, element) in elements {
            list.nest(LIST_ELEMENT, |it| {
                it.data(1, key.as_bytes());
                match element {
                    Element::Member => it,
                    Element::Value(value) => it.data(2, value.as_bytes()),
                    Element::Verdict(to) => it.nest(2, |data| verdict(data, to)),
                };
            });
        }
    });
    Message { kind, flags: if kind == message::NEW_ELEMENTS { CREATE } else { 0 }, body: body.into_bytes() }
}

fn verdict(data: &mut Writer, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Return => (-5, None),
        Verdict::Jump(name) => (-3, Some(name)),
        Verdict::Goto(name) => (-4i32, Some(name)),
    };
    data.nest(2, |it| {
        it.number(1, code.cast_unsigned());
        if let Some(name) = chain {
            it.string(2, name);
        }
    });
}

fn expression(list: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    list.nest(LIST_ELEMENT, |it| {
        it.string(1, name).nest(2, fill);
    });
}

fn statement(list: &mut Writer, statement: &Statement) {
    match statement {
        Statement::Match { field, mask, equal, value } => {
            load(list, *field, R0);
            if *mask != [0xff; 4] {
                bitwise(list, *mask, [0; 4]);
            }
            expression(list, "cmp", |e| {
                e.number(1, R0).number(2, u32::from(!*equal)).data(3, value);
            });
        }
        Statement::Member { key, set } => {
            load_all(list, key, R0);
            lookup(list, set, R0, None);
        }
        Statement::VerdictMap { key, map } => {
            load_all(list, key, R0);
            lookup(list, map, R0, Some(0));
        }
        Statement::Translate { key, map } => {
            let data = load_all(list, key, R0);
            lookup(list, map, R0, Some(data));
            translate(list, data);
        }
        Statement::TranslateAsBefore { key, identities, learned, valid, list: of, seconds } => {
            let data = client(list, key, identities);
            lookup(list, learned, R0, Some(data));
            load(list, Field::Constant(of.to_ne_bytes()), data + 2);
            lookup(list, valid, R0 + 1, None);
            learn(list, learned, UPDATE, data, *seconds);
            translate(list, data);
        }
        Statement::TranslateAndLearn { key, identities, choice, map, learned, seconds } => {
            let destination = client(list, key, identities);
            let chosen = load_all(list, key, destination);
            load(list, *choice, chosen);
            let data = chosen + 1;
            lookup(list, map, destination, Some(data));
            // An update only prolongs an existing element, so an outdated one goes first.
            learn(list, learned, DELETE, data, *seconds);
            learn(list, learned, UPDATE, data, *seconds);
            translate(list, data);
        }
        Statement::MarkSet(bits) => set_mark(list, !*bits, *bits),
        Statement::MarkClear(bits) => set_mark(list, !*bits, 0),
        Statement::Masquerade => expression(list, "masq", |e| {
            const FULLY_RANDOM_PORTS: u32 = 1 << 4;
            e.number(1, FULLY_RANDOM_PORTS);
        }),
        Statement::RejectWithReset => reject(list, 1, 0),
        Statement::RejectUnreachable => reject(list, 2, 1),
        Statement::Verdict(to) => expression(list, "immediate", |e| {
            e.number(1, 0).nest(2, |data| verdict(data, to));
        }),
    }
}

/// Loads the client's address and the key's identity, and returns the next free register.
fn client(list: &mut Writer, key: &[Field], identities: &str) -> u32 {
    load(list, Field::SourceAddress, R0);
    let next = load_all(list, key, R0 + 1);
    lookup(list, identities, R0 + 1, Some(R0 + 1));
    next
}

fn set_mark(list: &mut Writer, mask: u32, xor: u32) {
    load(list, Field::Mark, R0);
    bitwise(list, mask.to_ne_bytes(), xor.to_ne_bytes());
    expression(list, "meta", |e| {
        e.number(2, META_MARK).number(3, R0);
    });
}

/// `register = register & mask ^ xor`
fn bitwise(list: &mut Writer, mask: [u8; 4], xor: [u8; 4]) {
    expression(list, "bitwise", |e| {
        e.number(1, R0).number(2, R0).number(3, 4);
        e.data(4, &mask).data(5, &xor);
    });
}

fn lookup(list: &mut Writer, set: &str, source: u32, destination: Option<u32>) {
    expression(list, "lookup", |e| {
        e.string(1, set).number(2, source);
        if let Some(register) = destination {
            e.number(3, register);
        }
    });
}

const UPDATE: u32 = 1;
const DELETE: u32 = 2;

fn learn(list: &mut Writer, set: &str, operation: u32, data: u32, seconds: u32) {
    expression(list, "dynset", |e| {
        e.string(1, set).number(3, operation).number(4, R0).number(5, data);
        if operation == UPDATE {
            e.bytes(6, &(u64::from(seconds) * 1000).to_be_bytes());
        }
    });
}

fn translate(list: &mut Writer, data: u32) {
    const DESTINATION: u32 = 1;
    const IPV4: u32 = 2;
    expression(list, "nat", |e| {
        e.number(1, DESTINATION).number(2, IPV4).number(3, data).number(5, data + 1);
    });
}

fn reject(list: &mut Writer, kind: u32, code: u8) {
    expression(list, "reject", |e| {
        e.number(1, kind).bytes(2, &[code]);
    });
}

/// Loads fields into consecutive registers and returns the next free one.
fn load_all(list: &mut Writer, fields: &[Field], first: u32) -> u32 {
    let mut register = first;
    for field in fields {
        load(list, *field, register);
        register += 1;
    }
    register
}

const META_MARK: u32 = 3;

fn load(list: &mut Writer, field: Field, register: u32) {
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    let mut payload = |base, offset, length| {
        expression(list, "payload", |e| {
            e.number(1, register).number(2, base).number(3, offset).number(4, length);
        });
    };
    match field {
        Field::SourceAddress => payload(NETWORK, 12, 4),
        Field::DestinationAddress => payload(NETWORK, 16, 4),
        Field::DestinationPort => payload(TRANSPORT, 2, 2),
        Field::TransportProtocol => simple(list, "meta", register, 16),
        Field::NetworkProtocol => simple(list, "meta", register, 15),
        Field::Mark => simple(list, "meta", register, META_MARK),
        Field::ConnectionState => simple(list, "ct", register, 0),
        Field::ConnectionStatus => simple(list, "ct", register, 2),
        Field::SourceKind => address_kind(list, register, 1),
        Field::DestinationKind => address_kind(list, register, 2),
        Field::Random { modulus, offset } => expression(list, "numgen", |e| {
            const RANDOM: u32 = 1;
            e.number(1, register).number(2, modulus).number(3, RANDOM).number(4, offset);
        }),
        Field::Constant(bytes) => expression(list, "immediate", |e| {
            e.number(1, register).data(2, &bytes);
        }),
    }
}

fn simple(list: &mut Writer, name: &str, register: u32, key: u32) {
    expression(list, name, |e| {
        e.number(1, register).number(2, key);
    });
}

fn address_kind(list: &mut Writer, register: u32, which: u32) {
    const ADDRESS_TYPE: u32 = 3;
    expression(list, "fib", |e| {
        e.number(1, register).number(2, ADDRESS_TYPE).number(3, which);
    });
}
