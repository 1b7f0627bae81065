//! A client of a server elsewhere, over HTTP/2: all requests and watches share one connection. Who it is comes from the
//! TLS configuration, which may change its certificate, or from a token.

use std::time::Duration;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::Body;
use tower::ServiceExt as _;

use super::BoxError;
use super::paths::Paths;

/// As client-go's.
const CONNECT: Duration = Duration::from_secs(30);
/// A connection that is silent for so long is asked whether it lives, and must answer in time (client-go's figures).
const SILENCE: Duration = Duration::from_secs(30);
const ANSWER: Duration = Duration::from_secs(15);
/// A list of many objects should not wait for window updates.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// `server` is the API server's URL; `token` is sent as bearer token. Its connections are among `paths`.
pub fn remote(server: &Uri, tls: rustls::ClientConfig, token: Option<&HeaderValue>, paths: &Paths) -> Client {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    let paths = paths.clone();
    let tcp = tower::service_fn(move |to: Uri| {
        let (tcp, paths) = (tcp.clone(), paths.clone());
        async move { paths.dial(async { Ok::<_, BoxError>(tcp.oneshot(to).await?.into_inner()) }).await }
    });
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http2().wrap_connector(tcp);
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(SILENCE)
        .http2_keep_alive_timeout(ANSWER)
        .build(connector);
    let (server, token) = (server.clone(), token.cloned());
    let service = http.map_request(move |mut request: Request<Body>| {
        *request.uri_mut() = at(&server, request.uri());
        // The manager of the fields that it writes.
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("kubelet"));
        if let Some(token) = &token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        request
    });
    Client::new(service, "default")
}

/// The request's path at the server, below the server's own.
fn at(server: &Uri, request: &Uri) -> Uri {
    let base = server.path().trim_end_matches('/');
    let path = request.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut parts = server.clone().into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.path_and_query = format!("{base}{path}").parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| server.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_servers() {
        let of = |server: &str, path: &str| at(&server.parse().unwrap(), &path.parse().unwrap()).to_string();
        assert_eq!(of("https://a:6443", "/api/v1/pods?watch=1"), "https://a:6443/api/v1/pods?watch=1");
        assert_eq!(of("https://a/below/", "/api"), "https://a/below/api");
        assert_eq!(of("https://[::1]:6443", "/"), "https://[::1]:6443/");
    }
}
