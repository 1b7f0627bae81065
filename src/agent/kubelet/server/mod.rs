//! The kubelet's HTTPS server on port 10250, which only the API server may use: logs, exec, attach, port forwarding,
//! the pods as the kubelet sees them, statistics and health. Changes nothing about pods.

mod answer;
mod channels;

mod forward;
mod locate;
mod log_stream;
mod metrics;
mod query;
mod remote_command;
mod spdy;
mod stats;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Pod;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::host::Host;
use crate::agent::file_watch::FileWatch;
use crate::reconcile::Informer;
use answer::{Answer, Failure};
use query::Query;

/// Whom the server is, looked up at every handshake, and whom it trusts, in PEM.
#[derive(Clone)]
pub struct Credentials {
    pub serving: Arc<dyn ResolvesServerCert>,
    pub client_ca: String,
}

/// The name in the API server's certificate, and the group that may do everything.
const API_SERVER: &str = "kube-apiserver-kubelet-client";
const MASTERS: &str = "system:masters";

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);

/// What the handlers share.
pub struct Server {
    pub host: Arc<Host>,
    pub pods: Informer<Pod>,
    pub files: Arc<FileWatch>,
}

/// Listens until stopped.
pub async fn start(
    address: IpAddr,
    port: u16,
    credentials: &Credentials,
    host: Arc<Host>,
    pods: Informer<Pod>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> io::Result<SocketAddr> {
    let tls = TlsAcceptor::from(Arc::new(tls(credentials)?));
    let listener = TcpListener::bind((address, port)).await?;
    let bound = listener.local_addr()?;
    let server = Arc::new(Server { host, pods, files: FileWatch::start()? });
    let tracker = tasks.clone();
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let serve = serve(server.clone(), tls.clone(), stream);
                    let stop = stop.clone();
                    tracker.spawn(async move {
                        tokio::select! {
                            () = serve => {}
                            () = stop.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "kubelet connection not accepted");
                    // Out of descriptors, most likely: let others finish.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(bound)
}

fn tls(credentials: &Credentials) -> io::Result<ServerConfig> {
    let bad = |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(credentials.client_ca.as_bytes()) {
        roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&error))?
        .with_client_cert_verifier(verifier.map_err(|error| bad(&error))?)
        .with_cert_resolver(credentials.serving.clone());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

async fn serve(server: Arc<Server>, tls: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let trusted = is_trusted(stream.get_ref().1.peer_certificates());
    let service = service_fn(move |request| {
        let server = server.clone();
        async move {
            let answer = if trusted { route(server, request).await } else { Err(Failure::forbidden()) };
            Ok::<_, Infallible>(answer.unwrap_or_else(Failure::into_answer))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "kubelet connection ended");
    }
}

/// The chain was verified by TLS; this looks at the name.
fn is_trusted(certificates: Option<&[CertificateDer<'_>]>) -> bool {
    let Some(first) = certificates.and_then(<[_]>::first) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(first) else { return false };
    let subject = certificate.subject();
    let common = subject.iter_common_name().any(|name| name.as_str() == Ok(API_SERVER));
    common || subject.iter_organization().any(|name| name.as_str() == Ok(MASTERS))
}

/// What of a KubeletConfiguration is decided here.
fn configz(server: &Server) -> Result<Answer, Failure> {
    let settings = &server.host.settings;
    answer::json(&serde_json::json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": false}},
        "clusterDNS": settings.cluster_dns.map(|address| vec![address.to_string()]),
        "clusterDomain": settings.cluster_domain,
        "cgroupDriver": "cgroupfs",
        "maxPods": server.host.capacity.pods,
        "podLogsDir": settings.log_dir,
    }}))
}

async fn route(server: Arc<Server>, request: Request<Incoming>) -> Result<Answer, Failure> {
    let path = request.uri().path().to_owned();
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let get = request.method() == Method::GET;
    let streams = get || request.method() == Method::POST;
    match parts[..] {
        ["healthz"] if get => Ok(answer::text("ok")),
        ["pods"] if get => locate::all_pods(&server),
        ["stats", "summary"] if get => stats::summary(&server).await,
        ["metrics"] if get => metrics::kubelet(&server).await,
        ["metrics", "resource"] if get => metrics::resource(&server).await,
        ["metrics", "probes"] if get => Ok(metrics::probes(&server)),
        ["metrics", "cadvisor"] if get => metrics::cadvisor(&server).await,
        ["configz"] if get => configz(&server),
        ["containerLogs", namespace, pod, container] if get => {
            log_stream::logs(&server, namespace, pod, container, &query).await
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] if streams => {
            match locate::running(&server, namespace, pod, container) {
                Ok(id) => remote_command::exec(&server, id, &query, request),
                Err(failure) => remote_command::refuse(failure, &query, request),
            }
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] if streams => {
            match locate::attachable(&server, namespace, pod, container) {
                Ok((id, container)) => remote_command::attach(&server, id, &container, &query, request),
                Err(failure) => remote_command::refuse(failure, &query, request),
            }
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] if streams => {
            forward::forward(&server, namespace, pod, &query, request)
        }
        _ => Err(Failure::not_found("404 page not found")),
    }
}
