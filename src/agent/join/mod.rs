//! How a machine becomes a node of a cluster: it makes a key, asks for certificates by CertificateSigningRequests, and
//! keeps both. The first time it shows a bootstrap token, to no server but one of the token's own CA; from then on it is
//! `system:node:<name>`. `cmd` joins, and starts an agent with what comes of it.

#[cfg(test)]
mod clock_tests;
mod cluster;
mod failure;
mod renew;
mod request;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::{HeaderValue, Uri};
use jiff::Timestamp;
use kube::Client;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::server::ResolvesServerCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::agent::kubelet::Certificates;
use crate::api::bootstrap_token::JoinToken;
use crate::client;
use crate::client::paths::Paths;
use crate::client::pinned::PinnedAuthority;
use crate::keys::{self, Files, KeyError, Pair, Renewable};
pub use cluster::Cluster;
pub use failure::JoinError;
pub use renew::{Names, Renewal};
use request::{Kind, Wish};

const CLIENT: &str = "client";
const SERVING: &str = "serving";
const KEY: &str = "node.key";
const AUTHORITY: &str = "ca.crt";
const CLUSTER: &str = "cluster.json";

/// How long is waited between attempts to reach the server.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(15);

/// What a machine must be told.
pub struct JoinConfig {
    pub server: Uri,
    /// Needed the first time, and when the certificate has expired.
    pub token: Option<JoinToken>,
    pub node_name: String,
    /// Where key and certificates are kept.
    pub dir: PathBuf,
    /// Has the connections with the server.
    pub paths: Paths,
}

/// A machine that is a member.
pub struct Member {
    pub client: Client,
    /// TLS to the server, as the node.
    pub tls: rustls::ClientConfig,
    pub ca_pem: String,
    pub cluster: Cluster,
    key_pem: String,
    live_client: Arc<Renewable>,
    live_serving: Arc<Renewable>,
}

impl Member {
    /// What the node's certificates are, and how often each was not renewed.
    pub fn certificates(&self, failures: Arc<[AtomicU64; 2]>) -> Certificates {
        Certificates { client: Some(self.live_client.clone()), serving: Some(self.live_serving.clone()), failures }
    }

    /// What the kubelet's port shows: nothing until the serving certificate was issued.
    pub fn serving(&self) -> Arc<dyn ResolvesServerCert> {
        self.live_serving.clone()
    }
}

/// Becomes a member, or is one already. Waits for a server that does not answer yet.
///
/// # Errors
/// What waiting cannot mend: another CA, a token that does not count, a name that is another machine's.
pub async fn join(config: &JoinConfig) -> Result<Member, JoinError> {
    let key_pem = own_key(&config.dir.join(KEY))?;
    let files = Files::new(&config.dir, CLIENT);
    let kept = keys::read(&files.cert)?.map(|cert_pem| Pair { cert_pem, key_pem: key_pem.clone() });
    let usable = kept.filter(|pair| is_of(pair, &config.node_name) && pair.times().0 > Timestamp::now());
    let authority = keys::read(&config.dir.join(AUTHORITY))?;
    let (client_pair, ca_pem) = match (usable, authority) {
        (Some(pair), Some(ca_pem)) => (pair, ca_pem),
        _ => first_certificate(config, &key_pem).await?,
    };
    let live_client = Renewable::new(&client_pair)?;
    let live_serving = Arc::new(Renewable::default());
    let serving = keys::read(&Files::new(&config.dir, SERVING).cert)?;
    if let Some(cert_pem) = serving.filter(|cert| is_for(cert, &key_pem)) {
        live_serving.replace(&Pair { cert_pem, key_pem: key_pem.clone() })?;
    }
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(keys::roots(&ca_pem)?)
        .with_client_cert_resolver(live_client.clone());
    let client = client::remote(&config.server, tls.clone(), None, &config.paths);
    let cluster = Cluster::learn(&client, &config.dir.join(CLUSTER)).await?;
    Ok(Member { client, tls, ca_pem, cluster, key_pem, live_client, live_serving })
}

/// The node's key, made once: the cluster knows the node by it.
fn own_key(path: &Path) -> Result<String, KeyError> {
    if let Some(pem) = keys::read(path)? {
        return Ok(pem);
    }
    let make = |source| KeyError::Make { name: "node".to_owned(), source };
    let pem = KeyPair::generate().map_err(make)?.serialize_pem();
    keys::write_private(path, &pem)?;
    Ok(pem)
}

/// Whether a certificate is of this key.
fn is_for(cert_pem: &str, key_pem: &str) -> bool {
    let (Some(der), Ok(key)) = (keys::der(cert_pem), KeyPair::from_pem(key_pem)) else { return false };
    X509Certificate::from_der(&der).is_ok_and(|(_, cert)| cert.public_key().raw == key.subject_public_key_info())
}

fn is_of(pair: &Pair, node_name: &str) -> bool {
    let Some(der) = keys::der(&pair.cert_pem) else { return false };
    let named = X509Certificate::from_der(&der).is_ok_and(|(_, cert)| {
        let mut names = cert.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.any(|name| name.strip_prefix("system:node:") == Some(node_name))
    });
    named && is_for(&pair.cert_pem, &pair.key_pem)
}

/// Asks with the token, and keeps what comes of it.
async fn first_certificate(config: &JoinConfig, key_pem: &str) -> Result<(Pair, String), JoinError> {
    let Some(token) = &config.token else { return Err(JoinError::NoToken) };
    let authority = PinnedAuthority::new(&token.ca_sha256);
    let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.token)).map_err(|_| JoinError::NoToken)?;
    bearer.set_sensitive(true);
    let client = client::remote(&config.server, authority.client_tls(), Some(&bearer), &config.paths);
    let wish = Wish { kind: Kind::Client, node_name: &config.node_name, names: &[], key_pem };
    let mut retry = failure::Retry::new(FIRST_RETRY, LONGEST_RETRY);
    let cert_pem = loop {
        match request::obtain(&client, &wish).await {
            Ok(cert_pem) => break cert_pem,
            Err(error) => retry.wait(error.at_join(&token.token.id)?).await,
        }
    };
    let Some(ca_der) = authority.found() else { return Err(JoinError::NoAuthority) };
    let ca_pem = request::pem("CERTIFICATE", &ca_der);
    keys::write_private(&config.dir.join(AUTHORITY), &ca_pem)?;
    keys::write_private(&Files::new(&config.dir, CLIENT).cert, &cert_pem)?;
    tracing::info!(node = config.node_name, "joined the cluster");
    Ok((Pair { cert_pem, key_pem: key_pem.to_owned() }, ca_pem))
}
