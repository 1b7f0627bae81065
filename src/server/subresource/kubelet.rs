//! The API server's way to the kubelets, with the certificate that they accept: logs, exec, attach, port-forward, and
//! whatever else is asked of a node's own server. Decides nothing about who may do what.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{Request, Response};
use k8s_openapi::api::core::v1::Node;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::{Dialer, Target, Wire};
use super::relay::relay;
use crate::api::status::{Failure, Result};
use crate::api::transport::{joined, tls_error};
use crate::server::http::authn::{Certificate, User};
use crate::server::http::body::Body;
use crate::server::tunnel::Kind;

/// Where a kubelet listens that does not say.
const KUBELET_PORT: u16 = 10250;
/// Upstream's timeout.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The API server's way to the kubelets.
#[derive(Clone)]
pub struct Kubelets {
    tls: Arc<rustls::ClientConfig>,
    dialer: Dialer,
}

impl Kubelets {
    /// `tls` carries the client certificate that kubelets accept.
    pub fn new(tls: Arc<rustls::ClientConfig>, dialer: Dialer) -> Self {
        Self { tls, dialer }
    }

    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Sends `request` to `path` (with its query) on the node's kubelet and gives back its answer.
    pub async fn forward(&self, node: &Node, path: &str, mut request: Request<Body>) -> Result<Response<Body>> {
        let (address, port) = address(node)?;
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let host = joined(&address, port);
        let stream = self.connect(name, &address, port).await;
        let stream = stream.map_err(|error| Failure::internal(format!("Get \"https://{host}{path}\": {error}")))?;
        let headers = request.headers_mut();
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
        headers.insert(HOST, host.parse().map_err(Failure::internal)?);
        relay(stream, path, request).await
    }

    async fn connect(&self, node: &str, host: &str, port: u16) -> io::Result<impl Wire + use<>> {
        let target = Target { kind: Kind::Kubelet, node, host, port };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.dialer.connect(target, |wire| secured(self.tls.clone(), name.clone(), node, wire)).await
    }
}

/// TLS with the kubelet of this node and no other.
async fn secured(
    tls: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
    node: &str,
    wire: Box<dyn Wire>,
) -> io::Result<TlsStream<Box<dyn Wire>>> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "net/http: TLS handshake timeout");
    let handshake = TlsConnector::from(tls).connect(name, wire);
    let stream = tokio::time::timeout(HANDSHAKE, handshake).await.map_err(late)?;
    let stream = stream.map_err(|error| io::Error::new(error.kind(), tls_error(&error)))?;
    is_of(node, stream.get_ref().1.peer_certificates()).map_err(io::Error::other)?;
    Ok(stream)
}

/// The address in a certificate may be another node's too, in another network; the subject says whose it is.
/// As upstream since KEP-4872.
fn is_of(node: &str, certificates: Option<&[CertificateDer<'_>]>) -> std::result::Result<(), String> {
    let subject = match certificates.and_then(<[_]>::first).and_then(|leaf| Certificate::parse(leaf)) {
        Some(Certificate::Subject(subject)) => subject.user.name,
        _ => String::new(),
    };
    let expected = User::node(node).name;
    match subject == expected {
        true => Ok(()),
        false => Err(format!("invalid node serving cert common name; expected {expected:?}, got {subject:?}")),
    }
}

/// The node's address as upstream prefers them, and its kubelet's port.
pub fn address(node: &Node) -> Result<(String, u16)> {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let found = ["InternalIP", "ExternalIP", "Hostname"].into_iter();
    let mut found = found.filter_map(|kind| addresses.iter().find(|address| address.type_ == kind));
    let port = status.and_then(|status| status.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref());
    let port = port.and_then(|endpoint| u16::try_from(endpoint.port).ok()).unwrap_or(KUBELET_PORT);
    match found.next() {
        Some(address) => Ok((address.address.clone(), port)),
        None => {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            Err(Failure::internal(format!("no preferred addresses found for node \"{name}\"; known addresses: []")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_internal_address_is_preferred() {
        let addresses = json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]);
        let endpoints = json!({"kubeletEndpoint": {"Port": 10260}});
        let node = json!({"status": {"addresses": addresses, "daemonEndpoints": endpoints}});
        assert_eq!(address(&serde_json::from_value(node).unwrap()).unwrap(), ("10.0.0.1".to_owned(), 10260));
        assert_eq!(address(&Node::default()).unwrap_err().code(), 500);
    }
}
