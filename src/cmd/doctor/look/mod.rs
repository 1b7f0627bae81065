//! Looks at the machine and fills in what was seen. Judges nothing, and changes nothing but what loading a kernel
//! module, a network namespace of its own for a moment, and a small file in the data directory change.

mod disk;
mod filters;
mod kernel;
mod legacy;
mod routes;
mod sockets;

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::observed::{Certificate, Clock, Network, Observed, Reached, Server, Wanted};
use crate::api::bootstrap_token::JoinToken;
use crate::api::hex::hex;
use crate::client::pinned::PinnedAuthority;
use crate::cmd::config::HostArgs;
use crate::cmd::node_address;
use crate::net::overlay::kernel::Kernel;

pub use kernel::machine;

/// Everything but the way to other nodes.
pub async fn everything(
    host: &HostArgs,
    wanted: Wanted,
    node_ip: Option<IpAddr>,
    join: Option<&str>,
    token: Option<&JoinToken>,
) -> Observed {
    let ca = token.map(|token| token.ca_sha256.clone()).or_else(|| trusted(&host.data_dir));
    let node_ip = node_address::of_node(node_ip).ok().map(|address| address.get());
    let join = join.map(str::to_owned);
    let url = join.or_else(|| wanted.running.then(|| format!("https://127.0.0.1:{}", wanted.https_port)));
    Observed {
        machine: machine(host.containerd_address.is_none()),
        kernel: kernel::kernel(&host.run_dir).await,
        listeners: sockets::listeners(),
        firewalls: filters::firewalls(&wanted),
        clock: Clock { now: Timestamp::now(), synchronized: synchronized() },
        certificates: certificates(&host.data_dir),
        disk: disk::disk(&host.data_dir),
        server: url.map(|url| Server { outcome: knock(&url, ca.as_deref()), url }),
        network: Network { node_ip, wire: wire(node_ip), routes: routes::foreign() },
        wanted,
    }
}

fn synchronized() -> Option<bool> {
    match run("timedatectl", &["show", "-p", "NTPSynchronized", "--value"])?.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// What a program says; `None` where it is missing or fails.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Those of the server and of the agent, named by their folder and file.
fn certificates(data_dir: &Path) -> Vec<Certificate> {
    let mut found = Vec::new();
    for (role, dir) in [("server", "server/tls"), ("agent", "agent/pki")] {
        let entries = std::fs::read_dir(data_dir.join(dir)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|it| it == "crt")) {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            found.extend(certificate(format!("{role}/{stem}"), file));
        }
    }
    found
}

fn certificate(name: String, file: &Path) -> Option<Certificate> {
    let der = CertificateDer::from_pem_file(file).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    let validity = parsed.validity();
    let at = |time: i64| Timestamp::from_second(time).ok();
    Some(Certificate { name, begins: at(validity.not_before.timestamp())?, ends: at(validity.not_after.timestamp())? })
}

/// Whether somebody listens there and, where the hash of the cluster's CA is known, whether it is the cluster's server.
fn knock(url: &str, ca_sha256: Option<&str>) -> Reached {
    const PATIENCE: Duration = Duration::from_secs(3);
    let parsed: Result<http::Uri, _> = url.parse();
    let authority = parsed.as_ref().ok().and_then(|uri| Some((uri.host()?.trim_matches(['[', ']']), uri.port_u16())));
    let Some((host, port)) = authority else { return Reached::Unknown("it is no URL".to_owned()) };
    let addresses: Vec<SocketAddr> = match (host, port.unwrap_or(443)).to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return Reached::Unknown(error.to_string()),
    };
    let mut last = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                let shaken = ca_sha256.map_or(Ok(()), |hash| shake_hands(stream, PATIENCE, host, hash));
                return shaken.map_or_else(|error| Reached::Tls(error.to_string()), |()| Reached::Yes);
            }
            Err(error) => last = error.to_string(),
        }
    }
    Reached::No(last)
}

fn shake_hands(mut stream: TcpStream, patience: Duration, host: &str, ca_sha256: &str) -> anyhow::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    let name = ServerName::try_from(host.to_owned())?;
    let tls = PinnedAuthority::new(ca_sha256).client_tls();
    let mut connection = rustls::ClientConnection::new(Arc::new(tls), name)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}

/// The hash of the CA that this machine's agent trusts, once it has joined.
fn trusted(data_dir: &Path) -> Option<String> {
    let der = CertificateDer::from_pem_file(data_dir.join("agent/pki/ca.crt")).ok()?;
    Some(hex(&Sha256::digest(&der)))
}

/// The link that holds the node's address, and its MTU.
fn wire(node_ip: Option<IpAddr>) -> Option<(String, u32)> {
    let IpAddr::V4(address) = node_ip? else { return None };
    let wire = Kernel::open().ok()?.wire(address).ok()??;
    Some((name(wire.index)?, wire.mtu))
}

/// A link's name by its number.
fn name(index: u32) -> Option<String> {
    std::fs::read_dir("/sys/class/net").ok()?.flatten().find_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("ifindex")).ok()?;
        (text.trim() == index.to_string()).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::server::pki::{Pki, PkiOptions};

    /// A server of a cluster whose CA is new; gives its URL and the CA's hash.
    fn server(dir: &Path) -> (String, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = PkiOptions {
            sans: Vec::new(),
            node_name: "n".into(),
            node_ips: vec!["127.0.0.1".parse().unwrap()],
            service_ip: "10.43.0.1".parse().unwrap(),
            cluster_domain: "cluster.local".into(),
        };
        let pki = Pki::load_or_create(dir, &options).unwrap();
        let ca = CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let tls = Arc::new(pki.server_tls().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut connection = rustls::ServerConnection::new(tls.clone()).unwrap();
                let mut stream = stream.unwrap();
                while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
            }
        });
        (url, hex(&Sha256::digest(&ca)))
    }

    #[test]
    fn a_server_is_known_by_its_clusters_authority() {
        let dir = tempfile::tempdir().unwrap();
        let (url, ca) = server(dir.path());
        assert_eq!(knock(&url, Some(&ca)), Reached::Yes);
        assert_eq!(knock(&url, None), Reached::Yes, "nobody knows better");
        let Reached::Tls(why) = knock(&url, Some(&"0".repeat(64))) else { panic!("another cluster's") };
        assert!(!why.is_empty());
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = format!("https://{}", silent.local_addr().unwrap());
        drop(silent);
        assert!(matches!(knock(&nobody, Some(&ca)), Reached::No(_)));
        assert!(matches!(knock("nonsense", None), Reached::Unknown(_)));
        assert!(matches!(knock("https://does-not-exist.invalid:6443", None), Reached::Unknown(_)));
    }
}
