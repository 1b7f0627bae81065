//! A server that listens, nodes whose kubelets are a few paths over TLS, and agents' tunnels between them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use orch::agent::tunnel::{IsPod, Server, Tunnel, TunnelConfig};
use orch::keys::Pair;
use orch::lifecycle::Component;
use orch::server::http::authn::{Authenticator, User};
use orch::server::http::body::{self, Body};
use orch::server::http::listener::{Listener, TlsSource};
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::server::pki::{Pki, PkiOptions};
use orch::server::subresource::Subresources;
use orch::server::subresource::dial::Dialer;
use orch::server::subresource::kubelet::Kubelets;
use orch::server::tunnel::Tunnels;
use orch::store::memory::MemoryStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::cluster::Cluster;

const SOON: Duration = Duration::from_secs(60);
/// Where nobody listens, though certificates name it.
pub const NOBODY: &str = "127.0.0.2";

/// Waits for it, not for ever.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub async fn until(what: &str, holds: impl Fn() -> bool) {
    within(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The cluster's certificates, those of nodes for the node named.
fn pki(dir: &std::path::Path, node: &str, now: Timestamp) -> Pki {
    let options = PkiOptions {
        sans: Vec::new(),
        node_name: node.into(),
        node_ips: vec!["127.0.0.1".parse().unwrap(), NOBODY.parse().unwrap()],
        service_ip: "10.43.0.1".parse().unwrap(),
        cluster_domain: "cluster.local".into(),
    };
    Pki::load_at(dir, &options, now).unwrap()
}

pub struct Site {
    dir: tempfile::TempDir,
    pub pki: Pki,
    pub cluster: Cluster,
    pub tunnels: Arc<Tunnels>,
    pub listener: Listener,
    pub address: SocketAddr,
}

impl Site {
    pub async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let pki = pki(dir.path(), "server", Timestamp::now());
        let tunnels = Arc::<Tunnels>::default();
        let mut subresources = Subresources::standard(None);
        subresources.add_streams(&Kubelets::new(pki.kubelet_client_tls().unwrap(), Dialer::new(tunnels.clone())));
        let authenticator = Authenticator::new(Vec::new());
        let config =
            ApiServerConfig { authenticator, subresources, tunnels: tunnels.clone(), ..ApiServerConfig::default() };
        let server = ApiServer::new(config, MemoryStore::new());
        let tls = TlsSource::new(Arc::new(pki.server_tls().unwrap()));
        let mut listener = Listener::new(server.clone(), "127.0.0.1:0".parse().unwrap(), tls);
        listener.start().await.unwrap();
        let address = listener.local_address().unwrap();
        Self { dir, pki, cluster: Cluster::over(server).await, tunnels, listener, address }
    }

    /// The certificates of a node.
    pub fn of(&self, node: &str) -> Pki {
        pki(self.dir.path(), node, Timestamp::now())
    }

    /// As if they had been made at that time.
    pub fn of_age(&self, node: &str, made: Timestamp) -> Pki {
        pki(self.dir.path(), node, made)
    }

    /// TLS with the server as whoever the certificate names.
    pub fn client_tls(&self, shown: Option<&Pair>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.pki.ca_pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
        let Some(pair) = shown else { return builder.with_no_client_auth() };
        let chain = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    }

    /// What an agent of the node is told: its kubelet is this one, and no address is a pod's.
    pub fn agent(&self, node: &str, kubelet: &FakeKubelet) -> TunnelConfig {
        self.agent_with(&self.of(node), kubelet)
    }

    pub fn agent_with(&self, certificates: &Pki, kubelet: &FakeKubelet) -> TunnelConfig {
        let tls = Arc::new(self.client_tls(Some(&certificates.kubelet_client)));
        TunnelConfig {
            server: Server { host: "127.0.0.1".into(), port: self.address.port(), tls, paths: Default::default() },
            kubelet_port: kubelet.address.port(),
            is_pod: Arc::new(|_| false),
            node: watch::channel(Some(Arc::default())).1,
        }
    }

    /// An agent's tunnel that is open.
    pub async fn open(&self, node: &str, kubelet: &FakeKubelet) -> Tunnel {
        self.open_with(node, self.agent(node, kubelet)).await
    }

    pub async fn open_for_pods(&self, node: &str, kubelet: &FakeKubelet, is_pod: IsPod) -> Tunnel {
        self.open_with(node, TunnelConfig { is_pod, ..self.agent(node, kubelet) }).await
    }

    pub async fn open_with(&self, node: &str, config: TunnelConfig) -> Tunnel {
        self.register(node).await;
        let mut tunnel = Tunnel::new(config);
        tunnel.start().await.unwrap();
        within("a tunnel", self.tunnels.arrival(node)).await;
        tunnel
    }

    /// The Node is there.
    pub async fn register(&self, name: &str) {
        let reply = self.cluster.post("/api/v1/nodes", json!({"metadata": {"name": name}})).await;
        assert!([201, 409].contains(&reply.code), "{}", reply.text);
    }

    /// A Node with this address, and a pod of the same name on it.
    pub async fn node(&self, name: &str, host: &str, port: u16) {
        self.register(name).await;
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": host}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        let path = format!("/api/v1/nodes/{name}/status");
        self.cluster.ask(&User::admin(), Method::PATCH, &path, status).await.ok();
        let spec = json!({"nodeName": name, "containers": [{"name": "a", "image": "a"}]});
        self.cluster
            .post("/api/v1/namespaces/default/pods", json!({"metadata": {"name": name}, "spec": spec}))
            .await
            .ok();
    }

    /// What the log of the node's pod says: the name of the kubelet that answered, or why none did.
    pub async fn logs(&self, node: &str) -> String {
        let path = format!("/api/v1/namespaces/default/pods/{node}/log");
        let reply = within("logs", self.cluster.get(&path)).await;
        if reply.code == 200 { reply.text } else { reply.said() }
    }

    /// A request to one of the kubelet's paths, through `nodes/proxy`.
    pub async fn proxy(&self, node: &str, path: &str, content: impl Into<Bytes>) -> Response<Body> {
        let request = Request::post(format!("/api/v1/nodes/{node}/proxy{path}")).body(body::full(content)).unwrap();
        within(path, self.cluster.server.handle(User::admin(), request)).await
    }
}

/// A kubelet's port: says its name, echoes, streams.
pub struct FakeKubelet {
    pub address: SocketAddr,
    _task: tokio::task::JoinHandle<()>,
}

impl FakeKubelet {
    /// With a node's own certificate.
    pub async fn start(name: &'static str, certificates: &Pki) -> Self {
        Self::start_at("127.0.0.1:0", name, certificates).await
    }

    pub async fn start_at(address: &str, name: &'static str, certificates: &Pki) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = certificates.live.kubelet_serving();
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_cert_resolver(serving);
        let tls = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let tls = tls.clone();
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(name, request)) });
                    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = connection.with_upgrades().await;
                });
            }
        });
        Self { address, _task: task }
    }
}

fn answer(name: &'static str, mut request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if path.starts_with("/exec/") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        let switching = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        return switching.header("connection", "Upgrade").header("upgrade", "echo").body(body::empty()).unwrap();
    }
    Response::new(match path {
        "/echo" => body::wrap(request.into_body()),
        // For ever, as fast as somebody reads.
        "/flood" => body::stream(futures::stream::repeat(Bytes::from_static(&[b'x'; 16384])).map(Ok)),
        // A word, and then silence.
        "/follow" => {
            let word = futures::stream::once(std::future::ready(Ok(Bytes::from(name))));
            body::stream(word.chain(futures::stream::pending()))
        }
        _ => body::full(name),
    })
}
