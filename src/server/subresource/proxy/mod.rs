//! `pods/proxy`, `services/proxy` and `nodes/proxy`: any HTTP request, upgrades too, to what listens there, under the
//! API's own address. Follows upstream's proxy in what it adds, rewrites and says when nobody answers.

mod html;
mod links;
mod target;

use std::future::ready;
use std::net::SocketAddr;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::kubelet::Kubelets;
use super::relay::{relay, unreachable, upgrades};
use super::{Call, Handler, dial};
use crate::api::status::Result;
use crate::api::transport::unverified_tls;
use crate::server::http::body::{Body, empty};
use crate::server::tunnel::Kind;
use links::Links;
use target::{Scheme, Target};

/// What is proxied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Pods,
    Services,
    Nodes,
}

impl Of {
    pub const ALL: [Self; 3] = [Self::Pods, Self::Services, Self::Nodes];

    pub fn resource(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Services => "services",
            Self::Nodes => "nodes",
        }
    }

    /// Segments before what is asked of the target: `/api/v1/namespaces/ns/pods/name/proxy`, `/api/v1/nodes/name/proxy`.
    fn segments(self) -> usize {
        if self == Self::Nodes { 5 } else { 7 }
    }
}

pub struct Proxy {
    kubelets: Kubelets,
    of: Of,
}

impl Proxy {
    pub fn new(kubelets: Kubelets, of: Of) -> Self {
        Self { kubelets, of }
    }
}

#[async_trait]
impl Handler for Proxy {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let pipeline = call.pipeline();
        let target = match self.of {
            Of::Pods => target::of_pod(&pipeline, &call.context)?,
            Of::Services => target::of_service(&pipeline, &call.context)?,
            Of::Nodes => target::of_node(&pipeline, &call.context)?,
        };
        let mut request = call.request;
        let uri = request.uri().clone();
        let (prefix, path) = split(uri.path(), self.of.segments());
        let upgrade = upgrades(request.headers());
        if path.is_empty() && !upgrade && matches!(*request.method(), Method::GET | Method::HEAD) {
            return to_root(uri.path(), uri.query());
        }
        let links = Links::new(prefix, &target, request.headers());
        forwarded(&mut request, &links, path, upgrade);
        let path = if path.is_empty() { "/" } else { path };
        let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let response = self.send(&target, &path, request).await?;
        Ok(if response.status() == StatusCode::SWITCHING_PROTOCOLS { response } else { rewritten(response, links) })
    }
}

impl Proxy {
    async fn send(&self, target: &Target, path: &str, request: Request<Body>) -> Result<Response<Body>> {
        let (node, scheme, host, port) = match target {
            Target::Kubelet(node) => return self.kubelets.forward(node, path, request).await,
            Target::Address { node, scheme, host, port } => (node, *scheme, host, *port),
        };
        let to = dial::Target { kind: Kind::Pods, node, host, port };
        let wire = self.kubelets.dialer().connect(to, |wire| ready(Ok(wire))).await.map_err(unreachable)?;
        match scheme {
            Scheme::Http => relay(wire, path, request).await,
            Scheme::Https => {
                let name = ServerName::try_from(host.clone()).map_err(unreachable)?;
                let secured = TlsConnector::from(unverified_tls()).connect(name, wire).await;
                relay(secured.map_err(unreachable)?, path, request).await
            }
        }
    }
}

/// The proxy's own path, and what is asked of the target: empty, or beginning with a slash.
fn split(path: &str, segments: usize) -> (&str, &str) {
    let mut seen = 0;
    let mut inside = false;
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'/' if inside => {
                inside = false;
                if seen == segments {
                    return path.split_at(at);
                }
            }
            b'/' => {}
            _ if !inside => {
                inside = true;
                seen += 1;
            }
            _ => {}
        }
    }
    (path, "")
}

/// Relative links of a root page need the slash at its end.
fn to_root(path: &str, query: Option<&str>) -> Result<Response<Body>> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = format!("{path}/{query}").parse().map_err(crate::api::status::Failure::internal)?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Tells the target where the request came from; the client's credentials stay here.
fn forwarded(request: &mut Request<Body>, links: &Links, path: &str, upgrade: bool) {
    let peer = request.extensions().get::<SocketAddr>().copied();
    let headers = request.headers_mut();
    headers.remove(AUTHORIZATION);
    if let Some(peer) = peer {
        let name = HeaderName::from_static("x-forwarded-for");
        let before: Vec<_> = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).collect();
        let chain = [&before[..], &[&peer.ip().to_string()]].concat().join(", ");
        if let Ok(value) = HeaderValue::from_str(&chain) {
            headers.insert(name, value);
        }
    }
    if !upgrade && let Ok(uri) = HeaderValue::from_str(&links.prefixed(path)) {
        headers.insert(HeaderName::from_static("x-forwarded-uri"), uri);
    }
}

/// The answer with links that lead through the proxy again.
fn rewritten(mut response: Response<Body>, links: Links) -> Response<Body> {
    const CORS: [&str; 4] = [
        "access-control-allow-credentials",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
    ];
    let headers = response.headers_mut();
    for name in CORS {
        headers.remove(HeaderName::from_static(name));
    }
    if let Some(location) = headers.get(LOCATION).and_then(|value| value.to_str().ok()) {
        if let Ok(location) = links.rewrite(location).parse() {
            headers.insert(LOCATION, location);
        }
        return response;
    }
    let Some(encoding) = html::encoding(headers) else { return response };
    if !is_html(headers) {
        return response;
    }
    headers.remove(CONTENT_LENGTH);
    response.map(|body| html::rewrite(body, encoding, links))
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_behind_the_proxy_is_kept_as_it_was_sent() {
        let own = "/api/v1/namespaces/ns/pods/p:80/proxy";
        for rest in ["", "/", "/a%2Fb//c/"] {
            assert_eq!(split(&format!("{own}{rest}"), Of::Pods.segments()), (own, rest));
        }
        let node = "/api/v1/nodes/n/proxy";
        assert_eq!(split("/api/v1/nodes/n/proxy/pods", Of::Nodes.segments()), (node, "/pods"));
    }
}
