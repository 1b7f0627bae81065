//! The host's own resolvers, as its `resolv.conf` names them now: read again when the kernel tells that a file beside
//! it changed. Behind systemd-resolved the file it writes for others counts, not its stub.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;

use crate::agent::file_watch::{FileWatch, Watched};

const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";

pub struct Resolv {
    path: PathBuf,
    watch: Arc<FileWatch>,
    watched: Vec<Watched>,
}

impl Resolv {
    pub fn new(path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, watch: FileWatch::start()?, watched: Vec::new() })
    }

    /// The servers as they are, in their order. What changes after this is told by `changed`.
    pub fn servers(&mut self) -> Vec<SocketAddr> {
        // The file is often a link to where some daemon writes it.
        let target = fs::canonicalize(&self.path).ok();
        let files = [Some(self.path.clone()), target, Some(PathBuf::from(BEHIND_STUB))];
        let mut dirs: Vec<_> = files.iter().flatten().filter_map(|file| file.parent().map(Path::to_owned)).collect();
        dirs.sort();
        dirs.dedup();
        self.watched = dirs.iter().filter_map(|dir| self.watch.watch(dir).ok()).collect();
        let read = |path: &Path| nameservers(&fs::read_to_string(path).unwrap_or_default());
        let listed = read(&self.path);
        let behind = if listed == [STUB] { read(Path::new(BEHIND_STUB)) } else { Vec::new() };
        let servers = if behind.is_empty() { listed } else { behind };
        servers.into_iter().map(|ip| SocketAddr::new(ip, 53)).collect()
    }

    /// Returns when something changed beside the file.
    pub async fn changed(&self) {
        if self.watched.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(self.watched.iter().map(|watched| watched.changed().boxed())).await;
    }
}

fn nameservers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        // A link-local server's link cannot be told to others here; its address alone leads nowhere.
        words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()
    };
    let mut servers: Vec<IpAddr> = Vec::new();
    for ip in text.lines().filter_map(server) {
        if !servers.contains(&ip) {
            servers.push(ip);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_in_order_and_once() {
        let text = "# nameserver 192.0.2.9\nsearch lan\nnameserver 192.0.2.1 # router\n nameserver 2001:db8::1\n\
                    nameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n";
        assert_eq!(nameservers(text), ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert_eq!(nameservers("nameserver 127.0.0.53\noptions edns0"), [STUB]);
    }

    #[tokio::test]
    async fn a_file_that_is_replaced_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, real) = (dir.path().join("etc/resolv.conf"), dir.path().join("run/resolv.conf"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::create_dir_all(real.parent().unwrap()).unwrap();
        let mut resolv = Resolv::new(path.clone()).unwrap();
        assert!(resolv.servers().is_empty());
        let one = |last| [SocketAddr::from(([192, 0, 2, last], 53))];
        let patience = std::time::Duration::from_secs(5);
        fs::write(&real, "nameserver 192.0.2.1").unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        tokio::time::timeout(patience, resolv.changed()).await.unwrap();
        assert_eq!(resolv.servers(), one(1));
        // Where the link leads, by a rename as daemons do it.
        fs::write(dir.path().join("new"), "nameserver 192.0.2.2").unwrap();
        fs::rename(dir.path().join("new"), &real).unwrap();
        tokio::time::timeout(patience, resolv.changed()).await.unwrap();
        assert_eq!(resolv.servers(), one(2));
    }
}
