//! Packet rules as data: tables of sets, maps and chains, whose rules are a few high-level statements.
//! The same values are encoded for the kernel, compared to find what changed, and traced by tests. Pure;
//! built by the agent's proxy, hostport and masquerade.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The name of a set or chain.
pub type Name = Arc<str>;

/// A table of the `inet` family that is ours alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub sets: BTreeMap<Name, Set>,
    pub chains: BTreeMap<Name, Chain>,
}

/// What one column of a key or value is. Every column takes four bytes, as in the kernel's registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Address,
    Protocol,
    Port,
    /// A 32-bit number in the host's byte order.
    Number,
}

/// A set, a map to values, or a map to verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub key: Vec<Column>,
    pub kind: SetKind,
    pub elements: BTreeMap<Value, Element>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetKind {
    Members,
    Map(Vec<Column>),
    Verdicts,
    /// A map that rules fill, whose elements expire.
    Learned(Vec<Column>),
}

/// What an element of a set carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Element {
    Member,
    Value(Value),
    Verdict(Verdict),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(Name),
    Goto(Name),
}

/// A concatenation of columns, each in four bytes: an element's key or a map's value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    length: u8,
    bytes: [u8; Value::CAPACITY],
}

impl Value {
    const CAPACITY: usize = 24;
    pub const EMPTY: Self = Self { length: 0, bytes: [0; Self::CAPACITY] };

    #[must_use]
    pub fn address(self, address: Ipv4Addr) -> Self {
        self.column(address.octets())
    }

    #[must_use]
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.column([protocol.number(), 0, 0, 0])
    }

    #[must_use]
    pub fn port(self, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        self.column([high, low, 0, 0])
    }

    #[must_use]
    pub fn number(self, number: u32) -> Self {
        self.column(number.to_ne_bytes())
    }

    /// Another column. More than six are a mistake in the rules, found by any test that builds them.
    #[must_use]
    pub fn column(mut self, bytes: [u8; 4]) -> Self {
        let at = usize::from(self.length);
        assert!(at < Self::CAPACITY, "a key of more than {} bytes", Self::CAPACITY);
        self.bytes[at..at + 4].copy_from_slice(&bytes);
        self.length += 4;
        self
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, column) in self.as_bytes().chunks(4).enumerate() {
            write!(f, "{}{}.{}.{}.{}", if n > 0 { " . " } else { "" }, column[0], column[1], column[2], column[3])?;
        }
        Ok(())
    }
}

/// The transport protocols that Services have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// From the spelling of the Kubernetes API.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }
}

/// A chain; with a hook it sees packets, without one it is jumped to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub hook: Option<Hook>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    pub kind: HookKind,
    pub point: Point,
    pub priority: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    Nat,
    Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// Statements in order; the first that does not match ends the rule.
pub type Rule = Vec<Statement>;

/// What a statement can look at. Each takes four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    SourceAddress,
    DestinationAddress,
    TransportProtocol,
    DestinationPort,
    /// 2 for IPv4, 10 for IPv6; in the first byte.
    NetworkProtocol,
    Mark,
    /// Bits of nf_conntrack's state: 8 is new.
    ConnectionState,
    /// Bits of nf_conntrack's status: 0x20 is destination-translated.
    ConnectionStatus,
    /// Routing's opinion on the destination: 2 (`RTN_LOCAL`) is an address of this host.
    DestinationKind,
    /// The same for the source.
    SourceKind,
    /// A random number below the modulus plus the offset.
    Random {
        modulus: u32,
        offset: u32,
    },
    Constant([u8; 4]),
}

pub const NEW: u32 = 8;
pub const TRANSLATED: u32 = 0x20;
pub const LOCAL: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Goes on when `field & mask == value` (or differs, if `equal` is false).
    Match {
        field: Field,
        mask: [u8; 4],
        equal: bool,
        value: [u8; 4],
    },
    /// Goes on when the key is in the set.
    Member {
        key: Vec<Field>,
        set: Name,
    },
    /// Takes the verdict that the map has for the key; goes on if it has none.
    VerdictMap {
        key: Vec<Field>,
        map: Name,
    },
    /// Translates the destination to the address and port that the map has for the key.
    Translate {
        key: Vec<Field>,
        map: Name,
    },
    /// Translates to what the client got before (map `learned`: client and identity → address and port), as long as
    /// that is a member of `valid` (identity, address, port and `list`), and lets it be remembered for another while.
    TranslateAsBefore {
        key: Vec<Field>,
        /// key → identity, as wide as the key: what keys have in common that a client may use in turns.
        identities: Name,
        learned: Name,
        valid: Name,
        list: u32,
        seconds: u32,
    },
    /// Translates by the key and the choice, and remembers that for the client and the key's identity.
    TranslateAndLearn {
        key: Vec<Field>,
        identities: Name,
        choice: Field,
        map: Name,
        learned: Name,
        seconds: u32,
    },
    /// Sets bits of the packet's mark.
    MarkSet(u32),
    /// Clears bits of the packet's mark.
    MarkClear(u32),
    Masquerade,
    RejectWithReset,
    RejectUnreachable,
    Verdict(Verdict),
}

impl Statement {
    pub fn is(field: Field, value: [u8; 4]) -> Self {
        Self::Match { field, mask: [0xff; 4], equal: true, value }
    }

    pub fn is_not(field: Field, value: [u8; 4]) -> Self {
        Self::Match { field, mask: [0xff; 4], equal: false, value }
    }

    /// At least one of the bits is set.
    pub fn has_bits(field: Field, bits: u32) -> Self {
        Self::Match { field, mask: bits.to_ne_bytes(), equal: false, value: [0; 4] }
    }

    pub fn ipv4() -> Self {
        Self::is(Field::NetworkProtocol, [2, 0, 0, 0])
    }

    pub fn protocol(protocol: Protocol) -> Self {
        Self::is(Field::TransportProtocol, [protocol.number(), 0, 0, 0])
    }

    pub fn within(field: Field, range: ipnet::Ipv4Net, inside: bool) -> Self {
        Self::Match { field, mask: range.netmask().octets(), equal: inside, value: range.network().octets() }
    }

    pub fn jump(chain: &str) -> Self {
        Self::Verdict(Verdict::Jump(chain.into()))
    }

    pub fn goto(chain: &str) -> Self {
        Self::Verdict(Verdict::Goto(chain.into()))
    }
}

impl Set {
    pub fn new(kind: SetKind, key: &[Column]) -> Self {
        Self { key: key.to_vec(), kind, elements: BTreeMap::new() }
    }
}

impl Chain {
    pub fn plain(rules: Vec<Rule>) -> Self {
        Self { hook: None, rules }
    }

    pub fn hooked(kind: HookKind, point: Point, priority: i32, rules: Vec<Rule>) -> Self {
        Self { hook: Some(Hook { kind, point, priority }), rules }
    }
}
