//! Which pod of this node has which address. One file per address, named by it and holding its owner, so
//! that the answer survives a restart and a person can read it. Never hands out an address twice and
//! reuses a freed one as late as it can. Called by the kubelet; no kernel state is touched.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use parking_lot::Mutex;

/// Why an address was not allocated or released.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no IP addresses available in range {0}")]
    Exhausted(Ipv4Net),
    #[error("{0}: {1}")]
    State(PathBuf, #[source] io::Error),
}

/// The addresses of one node's pod range.
///
/// The network address, the first host (kept for the node's side of an overlay) and the broadcast address are
/// never given to pods.
pub struct Ipam {
    dir: PathBuf,
    range: Ipv4Net,
    leases: Mutex<Leases>,
}

#[derive(Default)]
struct Leases {
    by_address: BTreeMap<Ipv4Addr, String>,
    by_owner: HashMap<String, Ipv4Addr>,
    /// The address given last: the search goes on behind it.
    last: Option<Ipv4Addr>,
}

const LAST: &str = "last";

impl Ipam {
    /// Reads what an earlier process left. A lease outside the range (the node got another one) is forgotten.
    pub fn open(dir: impl Into<PathBuf>, range: Ipv4Net) -> Result<Self, Error> {
        let dir = dir.into();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| Error::State(path, error)
        };
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let mut leases = Leases::default();
        for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
            let path = entry.map_err(failed(&dir))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).map_err(failed(&path))?;
            if name == LAST {
                leases.last = text.trim().parse().ok();
                continue;
            }
            match name.parse::<Ipv4Addr>() {
                Ok(address) if range.contains(&address) && !text.is_empty() => {
                    leases.by_owner.insert(text.clone(), address);
                    leases.by_address.insert(address, text);
                }
                // An unfinished write or a lease of another range.
                _ => fs::remove_file(&path).map_err(failed(&path))?,
            }
        }
        Ok(Self { dir, range, leases: Mutex::new(leases) })
    }

    /// The owner's address: the one it has, else the next free one.
    pub fn allocate(&self, owner: &str) -> Result<Ipv4Addr, Error> {
        let mut leases = self.leases.lock();
        if let Some(address) = leases.by_owner.get(owner) {
            return Ok(*address);
        }
        let address = self.next_free(&leases).ok_or(Error::Exhausted(self.range))?;
        self.write(&address.to_string(), owner)?;
        self.write(LAST, &address.to_string())?;
        leases.by_owner.insert(owner.to_owned(), address);
        leases.by_address.insert(address, owner.to_owned());
        leases.last = Some(address);
        Ok(address)
    }

    /// Frees the owner's address; nothing happens when it has none.
    pub fn release(&self, owner: &str) -> Result<(), Error> {
        let mut leases = self.leases.lock();
        let Some(address) = leases.by_owner.get(owner).copied() else { return Ok(()) };
        let path = self.dir.join(address.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::State(path, error)),
            _ => {}
        }
        leases.by_owner.remove(owner);
        leases.by_address.remove(&address);
        Ok(())
    }

    /// Everybody who holds an address, so that the caller can release those that are gone.
    pub fn owners(&self) -> Vec<(String, Ipv4Addr)> {
        self.leases.lock().by_address.iter().map(|(address, owner)| (owner.clone(), *address)).collect()
    }

    /// Whether somebody holds the address.
    pub fn is_leased(&self, address: Ipv4Addr) -> bool {
        self.leases.lock().by_address.contains_key(&address)
    }

    /// The range that pods of this node live in.
    pub fn range(&self) -> Ipv4Net {
        self.range
    }

    fn next_free(&self, leases: &Leases) -> Option<Ipv4Addr> {
        let first = u32::from(self.range.network()).checked_add(2)?;
        let end = u32::from(self.range.broadcast());
        let start = leases.last.map_or(first, |last| u32::from(last).saturating_add(1)).max(first);
        let behind = start.min(end)..end;
        behind.chain(first..start.min(end)).map(Ipv4Addr::from).find(|address| !leases.by_address.contains_key(address))
    }

    /// Renaming makes the file appear whole or not at all. It is not synced: a power cut ends the pods as well.
    fn write(&self, name: &str, content: &str) -> Result<(), Error> {
        let temporary = self.dir.join("unfinished");
        let path = self.dir.join(name);
        fs::write(&temporary, content)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|error| Error::State(path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(dir: &Path, range: &str) -> Ipam {
        Ipam::open(dir, range.parse().unwrap()).unwrap()
    }

    #[test]
    fn an_owner_keeps_its_address_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = ipam(dir.path(), "10.42.0.0/24");
        let a = first.allocate("a").unwrap();
        let b = first.allocate("b").unwrap();
        assert_eq!((a, b), (Ipv4Addr::new(10, 42, 0, 2), Ipv4Addr::new(10, 42, 0, 3)));
        assert_eq!(first.allocate("a").unwrap(), a);
        first.release("a").unwrap();
        drop(first);
        let second = ipam(dir.path(), "10.42.0.0/24");
        assert_eq!(second.owners(), [("b".to_owned(), b)]);
        assert_eq!(second.allocate("c").unwrap(), Ipv4Addr::new(10, 42, 0, 4), "a freed address rests");
        assert_eq!(second.allocate("b").unwrap(), b);
    }

    #[test]
    fn every_address_is_given_once_and_then_none() {
        let dir = tempfile::tempdir().unwrap();
        let ipam = ipam(dir.path(), "10.42.1.0/29");
        let given: Vec<_> = (0..5).map(|n| ipam.allocate(&n.to_string()).unwrap().octets()[3]).collect();
        assert_eq!(given, [2, 3, 4, 5, 6]);
        assert!(matches!(ipam.allocate("5"), Err(Error::Exhausted(_))));
        ipam.release("3").unwrap();
        ipam.release("3").unwrap();
        assert_eq!(ipam.allocate("5").unwrap(), Ipv4Addr::new(10, 42, 1, 5));
    }

    #[test]
    fn leases_of_another_range_and_unfinished_files_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        ipam(dir.path(), "10.42.1.0/24").allocate("old").unwrap();
        fs::write(dir.path().join("unfinished"), "x").unwrap();
        let moved = ipam(dir.path(), "10.42.2.0/24");
        assert!(moved.owners().is_empty());
        assert_eq!(moved.allocate("new").unwrap(), Ipv4Addr::new(10, 42, 2, 2));
    }

    #[test]
    fn a_range_without_room_for_pods_is_exhausted_not_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(ipam(dir.path(), "10.42.1.0/32").allocate("a"), Err(Error::Exhausted(_))));
        let last = tempfile::tempdir().unwrap();
        assert!(matches!(ipam(last.path(), "255.255.255.255/32").allocate("a"), Err(Error::Exhausted(_))));
    }
}
