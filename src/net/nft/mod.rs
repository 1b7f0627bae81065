//! Packet rules in tables of our own: data → difference to what we remember → one atomic transaction with
//! the kernel, spoken in-process. The ruleset is never read back and no program is started for it. Never touches a table that
//! it was not given by name. Called by the agent's proxy and by hostport and masquerade.

pub mod diff;
pub mod encode;
pub mod model;
#[cfg(test)]
pub mod trace;
pub mod watch;

use std::io;

pub use diff::Change;
use encode::message;
use model::Table;
use rtnetlink::packet_core::NLM_F_DUMP;

use crate::net::netlink::Netlink;
use crate::net::netlink::attributes::{self, Writer};
use crate::net::netlink::batch::{Batch, Connection};

/// Why the kernel does not have the rules that it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nf_tables in the kernel: {0}")]
    Unavailable(#[source] io::Error),
    #[error("table {table}: {what}: {source}")]
    Refused { table: String, what: String, source: io::Error },
}

/// The names of all tables of the `inet` family: whether the kernel has nf_tables, and what an uninstall has to remove.
/// Their rules are not read.
pub fn tables() -> Result<Vec<String>, Error> {
    let mut socket = Netlink::netfilter().map_err(Error::Unavailable)?;
    let query = Writer::netfilter(encode::INET, 0).into_bytes();
    let answers = socket.request(message::GET_TABLE, NLM_F_DUMP, &query).map_err(Error::Unavailable)?;
    let name = |answer: &Vec<u8>| {
        let name = attributes::find(answer.get(20..)?, 1)?.strip_suffix(&[0])?;
        Some(String::from_utf8_lossy(name).into_owned())
    };
    Ok(answers.iter().filter_map(name).collect())
}

/// netfilter's numbers of hooks.
pub const HOOK_INPUT: u32 = 1;
pub const HOOK_FORWARD: u32 = 2;

/// A chain that the kernel calls by itself, of any table: who else has a say about packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// As nft(8) calls it: `ip` or `inet`.
    pub family: &'static str,
    pub table: String,
    pub name: String,
    pub hook: u32,
    /// What no rule decides about is dropped.
    pub drops: bool,
}

/// The base chains of all tables that see IPv4 packets. Their rules are not read.
pub fn base_chains() -> Result<Vec<BaseChain>, Error> {
    let mut socket = Netlink::netfilter().map_err(Error::Unavailable)?;
    let every_family = Writer::netfilter(0, 0).into_bytes();
    let answers = socket.request(message::GET_CHAIN, NLM_F_DUMP, &every_family).map_err(Error::Unavailable)?;
    Ok(answers.iter().filter_map(|answer| base_chain(answer)).collect())
}

fn base_chain(answer: &[u8]) -> Option<BaseChain> {
    const TABLE: u16 = 1;
    const NAME: u16 = 3;
    const HOOK: u16 = 4;
    const POLICY: u16 = 5;
    let family = match answer.get(16)? {
        1 => "inet",
        2 => "ip",
        _ => return None,
    };
    let payload = answer.get(20..)?;
    let text = |kind| {
        let bytes = attributes::find(payload, kind)?;
        Some(String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned())
    };
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes);
    // Only base chains have a hook; its number is the first thing in it.
    let hook = number(attributes::find(attributes::find(payload, HOOK)?, 1)?)?;
    let drops = attributes::find(payload, POLICY).and_then(number) == Some(0);
    Some(BaseChain { family, table: text(TABLE)?, name: text(NAME)?, hook, drops })
}

/// One table in the kernel, and what shall be in it: the one copy of the rules that this process keeps.
pub struct KernelTable {
    connection: Connection,
    table: Table,
    /// Whether the kernel has exactly `table`.
    synced: bool,
}

impl KernelTable {
    /// Connects to the network namespace of the calling thread. The kernel is not changed.
    pub fn open(name: &str) -> Result<Self, Error> {
        let connection = Connection::open().map_err(Error::Unavailable)?;
        let table = Table { name: name.to_owned(), ..Table::default() };
        Ok(Self { connection, table, synced: false })
    }

    /// What the kernel shall have, and has after a success.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The socket that our changes come from, as others see it in events.
    pub fn port(&self) -> u32 {
        self.connection.port()
    }

    /// Whether the kernel has what shall be.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Somebody else changed the table: the next call replaces it.
    pub fn distrust(&mut self) {
        self.synced = false;
    }

    /// Makes the kernel's table this one.
    pub fn sync(&mut self, desired: Table) -> Result<(), Error> {
        debug_assert_eq!(desired.name, self.table.name);
        match diff::diff(&self.table, &desired) {
            Some(changes) => self.change(&changes),
            None => {
                self.table = desired;
                self.replace()
            }
        }
    }

    /// Changes what shall be in the table and brings the kernel there: by these changes alone, or, when they are
    /// refused or the kernel's state is not known, by replacing the table within one transaction.
    ///
    /// # Errors
    /// The kernel's; what shall be is remembered all the same, and the next call tries again.
    pub fn change(&mut self, changes: &[Change]) -> Result<(), Error> {
        diff::apply(&mut self.table, changes);
        if self.synced {
            let mut batch = Batch::new();
            for it in encode::changes(&self.table.name, changes) {
                batch.add(it.kind, it.flags, it.body);
            }
            match self.connection.run(batch) {
                Ok(()) => return Ok(()),
                Err(refused) => tracing::info!(error = %self.refused(refused), "replacing the whole table instead"),
            }
        }
        self.replace()
    }

    fn replace(&mut self) -> Result<(), Error> {
        self.synced = false;
        let empty = Table { name: self.table.name.clone(), ..Table::default() };
        let changes = diff::diff(&empty, &self.table).unwrap_or_default();
        let mut batch = Batch::new();
        // Deleting a table that is not there is an error, so it is created first; all of it is one transaction.
        for kind in [message::NEW_TABLE, message::DELETE_TABLE, message::NEW_TABLE] {
            let it = encode::table(&self.table.name, kind);
            batch.add(it.kind, it.flags, it.body);
        }
        for it in encode::changes(&self.table.name, &changes) {
            batch.add(it.kind, it.flags, it.body);
        }
        self.connection.run(batch).map_err(|refused| self.refused(refused))?;
        self.synced = true;
        Ok(())
    }

    /// Removes the table; a missing one is fine.
    pub fn remove(&mut self) -> Result<(), Error> {
        let mut batch = Batch::new();
        for kind in [message::NEW_TABLE, message::DELETE_TABLE] {
            let it = encode::table(&self.table.name, kind);
            batch.add(it.kind, it.flags, it.body);
        }
        self.connection.run(batch).map_err(|refused| self.refused(refused))?;
        self.table = Table { name: self.table.name.clone(), ..Table::default() };
        self.synced = false;
        Ok(())
    }

    fn refused(&self, refused: crate::net::netlink::batch::Refused) -> Error {
        let what = match refused.kind {
            Some(message::NEW_CHAIN) => "adding a chain",
            Some(message::NEW_RULE) => "adding a rule",
            Some(message::NEW_SET) => "adding a set",
            Some(message::NEW_ELEMENTS) => "adding elements",
            Some(message::DELETE_ELEMENTS) => "removing elements",
            Some(message::NEW_TABLE) => "adding the table",
            Some(_) => "removing what is obsolete",
            None => "the transaction",
        };
        let what = format!("{what} (message {})", refused.position);
        Error::Refused { table: self.table.name.clone(), what, source: refused.error }
    }
}
