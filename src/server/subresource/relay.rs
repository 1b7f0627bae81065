//! One request passed on over a connection of its own, and its answer. An upgrade is passed on as it is: after both
//! sides have agreed, bytes are copied between the two connections until either ends. Knows no pod and no kubelet.

use http::header::{CONNECTION, HeaderName, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::dial::Wire;
use crate::api::status::{Failure, Result};
use crate::server::http::body::{Body, empty, wrap};
use crate::server::http::session::Session;

/// Sends `request` to `path` (with its query) over `wire` and gives back the answer.
pub async fn relay(wire: impl Wire + 'static, path: &str, request: Request<Body>) -> Result<Response<Body>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(unreachable)?;
    tokio::spawn(connection.with_upgrades());
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let session = parts.extensions.remove::<Session>();
    let wants = upgrades(&parts.headers);
    drop_hops(&mut parts.headers, wants);
    parts.uri = path.parse::<Uri>().map_err(|error| Failure::bad_request(error.to_string()))?;
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    let response = sender.send_request(Request::from_parts(parts, body)).await.map_err(unreachable)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return join(response, upgrade, session);
    }
    let (mut parts, body) = response.into_parts();
    drop_hops(&mut parts.headers, false);
    parts.version = http::Version::default();
    Ok(Response::from_parts(parts, wrap(body)))
}

/// Upstream's answer where the other side cannot be spoken with.
pub fn unreachable(error: impl std::fmt::Display) -> Failure {
    Failure::unavailable(format!("error trying to reach service: {error}"))
}

/// Joins the client's connection with the other one, both having left HTTP behind.
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
    let other = hyper::upgrade::on(Response::from_parts(parts, ()));
    let copy = async move {
        match tokio::try_join!(client, other) {
            Ok((client, other)) => {
                // Either side may end the session whenever it likes; that is no failure of ours.
                let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(other)).await;
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

pub fn upgrades(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) && connection_options(headers).iter().any(|option| option == "upgrade")
}

fn connection_options(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|option| option.trim().to_ascii_lowercase()).collect()
}

/// Takes out what is between two neighbours only: the standard's headers and those that `Connection` names.
fn drop_hops(headers: &mut HeaderMap, keep_upgrade: bool) {
    const HOP: [&str; 7] = [
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
    ];
    for option in connection_options(headers) {
        if let Ok(name) = option.parse::<HeaderName>()
            && name != UPGRADE
        {
            headers.remove(name);
        }
    }
    for name in HOP {
        headers.remove(HeaderName::from_static(name));
    }
    if !keep_upgrade {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_do_not_travel() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "keep-alive, Upgrade, X-Mine"), ("upgrade", "websocket"), ("x-mine", "1"), ("x-yours", "2")]
        {
            headers.insert(name, value.parse().unwrap());
        }
        assert!(upgrades(&headers));
        drop_hops(&mut headers, true);
        assert!(headers.contains_key("upgrade") && !headers.contains_key("x-mine"));
        drop_hops(&mut headers, false);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-yours"]);
    }
}
