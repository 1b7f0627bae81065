//! Requests that the API server passes on to a node's kubelet: logs, exec, attach, port-forward.
//!
//! A WebSocket is passed on as it is: after both sides have agreed, bytes are copied between the two
//! connections until either ends. Nothing here decides who may do what.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderName, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Node;
use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::api::status::{Failure, Result};
use crate::server::http::body::{Body, empty, wrap};
use crate::server::http::session::Session;

/// Upstream's timeout for reaching a node.
const DIAL: Duration = Duration::from_secs(10);
/// Where a kubelet listens that does not say.
const KUBELET_PORT: u16 = 10250;

/// The API server's way to the kubelets.
#[derive(Clone)]
pub struct Kubelets {
    tls: Arc<rustls::ClientConfig>,
}

impl Kubelets {
    /// `tls` carries the client certificate that kubelets accept.
    pub fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls }
    }

    /// Sends `request` to `path` (with its query) on the node's kubelet and gives back its answer.
    pub async fn forward(&self, node: &Node, path: &str, request: Request<Body>) -> Result<Response<Body>> {
        let (address, port) = address(node)?;
        let stream = self.connect(&address, port).await.map_err(|error| {
            let message = format!("Get \"https://{address}:{port}{path}\": dial tcp {address}:{port}: {error}");
            Failure::internal(message)
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Failure::internal)?;
        tokio::spawn(connection.with_upgrades());
        let (mut parts, body) = request.into_parts();
        let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let session = parts.extensions.remove::<Session>();
        let wants = upgrades(&parts.headers);
        clean(&mut parts.headers, wants);
        parts.headers.insert(HOST, format!("{address}:{port}").parse().map_err(Failure::internal)?);
        parts.uri = path.parse::<Uri>().map_err(|error| Failure::bad_request(error.to_string()))?;
        parts.version = http::Version::HTTP_11;
        parts.extensions.clear();
        let response = sender.send_request(Request::from_parts(parts, body)).await.map_err(Failure::internal)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return join(response, upgrade, session);
        }
        let (mut parts, body) = response.into_parts();
        clean(&mut parts.headers, false);
        parts.version = http::Version::default();
        Ok(Response::from_parts(parts, wrap(body)))
    }

    async fn connect(&self, address: &str, port: u16) -> std::io::Result<TlsStream<TcpStream>> {
        let dial = async {
            let stream = TcpStream::connect((address, port)).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(address.to_owned()).map_err(std::io::Error::other)?;
            TlsConnector::from(self.tls.clone()).connect(name, stream).await
        };
        let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, "i/o timeout");
        tokio::time::timeout(DIAL, dial).await.map_err(|_| late())?
    }
}

/// Joins the client's connection with the kubelet's, both having left HTTP behind.
fn join(
    response: Response<hyper::body::Incoming>,
    client: Option<hyper::upgrade::OnUpgrade>,
    session: Option<Session>,
) -> Result<Response<Body>> {
    let Some(client) = client else {
        return Err(Failure::bad_request("Upgrade request required"));
    };
    let (parts, _) = response.into_parts();
    let mut answer = Response::new(empty());
    *answer.status_mut() = parts.status;
    *answer.headers_mut() = parts.headers.clone();
    let kubelet = hyper::upgrade::on(Response::from_parts(parts, ()));
    let copy = async move {
        match tokio::try_join!(client, kubelet) {
            Ok((client, kubelet)) => {
                // Either side may end the session whenever it likes; that is no failure of ours.
                let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(kubelet)).await;
            }
            Err(error) => tracing::debug!(%error, "a stream was not upgraded"),
        }
    };
    match session {
        Some(session) => tokio::spawn(session.run(copy)),
        None => tokio::spawn(copy),
    };
    Ok(answer)
}

/// The node's address as upstream prefers them, and its kubelet's port.
fn address(node: &Node) -> Result<(String, u16)> {
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

fn upgrades(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    headers.contains_key(UPGRADE)
        && connection.flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case("upgrade"))
}

/// Takes out what is between two neighbours only, and the client's credentials.
fn clean(headers: &mut HeaderMap, keep_upgrade: bool) {
    const HOP: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"];
    for name in HOP {
        headers.remove(HeaderName::from_static(name));
    }
    if !keep_upgrade {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
    headers.remove(AUTHORIZATION);
    headers.remove(COOKIE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn credentials_and_hops_do_not_travel() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("authorization", "Bearer x"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]
        {
            headers.insert(name, value.parse().unwrap());
        }
        assert!(upgrades(&headers));
        clean(&mut headers, true);
        assert!(headers.contains_key("upgrade") && !headers.contains_key("authorization"));
        clean(&mut headers, false);
        assert!(headers.is_empty());
    }

    #[test]
    fn the_internal_address_is_preferred() {
        let addresses = json!([{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]);
        let endpoints = json!({"kubeletEndpoint": {"Port": 10260}});
        let node = json!({"status": {"addresses": addresses, "daemonEndpoints": endpoints}});
        assert_eq!(address(&serde_json::from_value(node).unwrap()).unwrap(), ("10.0.0.1".to_owned(), 10260));
        assert_eq!(address(&Node::default()).unwrap_err().code(), 500);
    }
}
