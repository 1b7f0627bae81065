//! The cluster's certificates and keys, made at the first start and kept in `<data-dir>/server/tls`.
//!
//! `cmd` loads them and hands each part of the process what it needs; nobody else reads the files.

mod authority;
pub mod inspect;
pub mod kubeconfig;
pub mod rotation;
pub mod signer;
pub mod token;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::keys::{KeyError, Pair, Renewable, read, roots, write_private};
use authority::{Authority, Leaf, Usage};

/// What the certificates must name.
#[derive(Clone, Debug)]
pub struct PkiOptions {
    /// Further names and addresses of the API server (`--tls-san`).
    pub sans: Vec<String>,
    pub node_name: String,
    pub node_ips: Vec<IpAddr>,
    /// The ClusterIP of the `kubernetes` Service.
    pub service_ip: IpAddr,
    pub cluster_domain: String,
}

/// The CA's files and its own name.
const CA_NAME: &str = "ca";
const CA_SUBJECT: &str = "orch-ca";

/// Every certificate and key of a server.
pub struct Pki {
    /// The CA: whoever has its key is the cluster.
    pub ca: Pair,
    pub ca_pem: String,
    pub ca_ends: Timestamp,
    pub api_server: Pair,
    /// `kubernetes-admin` of `system:masters`, for the written kubeconfig.
    pub admin: Pair,
    /// The API server's identity at the kubelet's port.
    pub api_server_kubelet_client: Pair,
    /// `system:node:<name>` of `system:nodes`.
    pub kubelet_client: Pair,
    pub kubelet_serving: Pair,
    /// Signs ServiceAccount tokens; PKCS#8 PEM.
    pub service_account_key_pem: String,
    /// When the first of the certificates should be made anew.
    pub renew_at: Timestamp,
    /// What TLS uses, now and after a renewal.
    pub live: Live,
}

/// The certificates that TLS has in use.
#[derive(Clone)]
pub struct Live {
    api_server: Arc<Renewable>,
    api_server_kubelet_client: Arc<Renewable>,
    kubelet_serving: Arc<Renewable>,
    /// The PEM texts of all that are in use, to know whether others came.
    shown: Arc<Mutex<Vec<String>>>,
}

impl Live {
    /// Puts what was loaded into use; false where it is in use already.
    fn take(&self, pki: &Pki) -> Result<bool, KeyError> {
        let fresh = pki.shown();
        let mut shown = self.shown.lock();
        if *shown == fresh {
            return Ok(false);
        }
        self.api_server.replace(&pki.api_server.with_chain(&pki.ca))?;
        self.api_server_kubelet_client.replace(&pki.api_server_kubelet_client)?;
        self.kubelet_serving.replace(&pki.kubelet_serving)?;
        *shown = fresh;
        Ok(true)
    }

    /// What the kubelet's server shows.
    pub fn kubelet_serving(&self) -> Arc<Renewable> {
        self.kubelet_serving.clone()
    }
}

impl Pki {
    /// Reads what is there and makes what is missing, ageing or no longer names the right machine.
    pub fn load_or_create(dir: &Path, options: &PkiOptions) -> Result<Self, KeyError> {
        Self::load_at(dir, options, Timestamp::now())
    }

    /// The same, as it is at `now`.
    pub fn load_at(dir: &Path, options: &PkiOptions, now: Timestamp) -> Result<Self, KeyError> {
        let ca = Authority::load_or_create(dir, CA_NAME, CA_SUBJECT, now)?;
        let leaf = |name: &str, common_name: &str, organization, usage, names: &[String]| {
            ca.leaf(dir, name, &Leaf { common_name, organization, usage, names }, now)
        };
        let client = |name: &str, common_name: &str, organization| {
            leaf(name, common_name, Some(organization), Usage::Client, &[])
        };
        let node = format!("system:node:{}", options.node_name);
        let mut node_names = vec![options.node_name.clone()];
        node_names.extend(options.node_ips.iter().map(ToString::to_string));
        let api_server = leaf("apiserver", "kube-apiserver", None, Usage::Server, &api_server_names(options))?;
        let kubelet_client_name = "kube-apiserver-kubelet-client";
        let api_server_kubelet_client = client("apiserver-kubelet-client", kubelet_client_name, "system:masters")?;
        let kubelet_serving = leaf("kubelet-serving", &node, Some("system:nodes"), Usage::Server, &node_names)?;
        let live = Live {
            api_server: Renewable::new(&api_server.with_chain(&ca.pair))?,
            api_server_kubelet_client: Renewable::new(&api_server_kubelet_client)?,
            kubelet_serving: Renewable::new(&kubelet_serving)?,
            shown: Arc::default(),
        };
        let mut pki = Self {
            admin: client("admin", "kubernetes-admin", "system:masters")?,
            kubelet_client: client("kubelet-client", &node, "system:nodes")?,
            service_account_key_pem: signing_key(&dir.join("service-account.key"))?,
            ca_pem: ca.pair.cert_pem.clone(),
            ca_ends: ca.pair.times().0,
            ca: ca.pair,
            renew_at: Timestamp::MAX,
            api_server,
            api_server_kubelet_client,
            kubelet_serving,
            live,
        };
        pki.renew_at = pki.leaves().map(|leaf| leaf.times().1).into_iter().min().unwrap_or(now);
        *pki.live.shown.lock() = pki.shown();
        Ok(pki)
    }

    fn leaves(&self) -> [&Pair; 5] {
        let clients = [&self.admin, &self.api_server_kubelet_client, &self.kubelet_client];
        [clients[0], clients[1], clients[2], &self.api_server, &self.kubelet_serving]
    }

    fn shown(&self) -> Vec<String> {
        self.leaves().map(|leaf| leaf.cert_pem.clone()).into()
    }

    /// TLS of the API server: asks for a client certificate of the cluster's CA, but does not insist.
    pub fn server_tls(&self) -> Result<rustls::ServerConfig, KeyError> {
        let roots = roots(&self.ca_pem)?;
        let verifier = rustls::server::WebPkiClientVerifier::builder(roots.into()).allow_unauthenticated();
        let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut tls = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.live.api_server.clone());
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(tls)
    }

    /// TLS with which the API server calls kubelets.
    pub fn kubelet_client_tls(&self) -> Result<Arc<rustls::ClientConfig>, KeyError> {
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(roots(&self.ca_pem)?)
            .with_client_cert_resolver(self.live.api_server_kubelet_client.clone());
        Ok(Arc::new(tls))
    }
}

/// Every name by which clients inside and outside the cluster reach the API server.
fn api_server_names(options: &PkiOptions) -> Vec<String> {
    let domain = &options.cluster_domain;
    let mut names: Vec<String> =
        ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .map(str::to_owned)
            .into();
    names.push(format!("kubernetes.default.svc.{domain}"));
    names.push(options.node_name.clone());
    names.push(options.service_ip.to_string());
    names.extend(options.node_ips.iter().map(ToString::to_string));
    names.extend(options.sans.iter().cloned());
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn signing_key(path: &Path) -> Result<String, KeyError> {
    if let Some(pem) = read(path)? {
        return Ok(pem);
    }
    let make = |source| KeyError::Make { name: "service-account".to_owned(), source };
    let pem = rcgen::KeyPair::generate().map_err(make)?.serialize_pem();
    write_private(path, &pem)?;
    Ok(pem)
}
