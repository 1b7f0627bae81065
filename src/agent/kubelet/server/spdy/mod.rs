//! SPDY/3.1 as Kubernetes' clients speak it: many streams over one connection, which is an upgraded HTTP connection
//! or travels inside of a WebSocket. The server's side only, with the clients' own liberties: nobody keeps flow-control
//! windows, so ours are not kept either and a stream that is not read holds up its connection.

#[cfg(test)]
pub mod client;
mod connection;
mod frame;
mod headers;
mod wire;

use std::future::Future;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::answer::{Answer, Failure, whole};

pub use connection::{Connection, Input, Sender, Stream};
pub use wire::Wire;

const UPGRADE_NAME: &str = "SPDY/3.1";
const PROTOCOL: &str = "x-stream-protocol-version";

/// Whether a request asks for SPDY.
pub fn is_asked(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(UPGRADE_NAME))
}

/// Accepts the upgrade with the first protocol of the client's that is among `offered`, and runs `serve` on the
/// connection and with that protocol.
pub fn upgrade<F, S>(mut request: Request<Incoming>, offered: &[&'static str], serve: F) -> Result<Answer, Failure>
where
    F: FnOnce(Connection, &'static str) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let asked: Vec<_> = request
        .headers()
        .get_all(PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let Some(protocol) = asked.iter().find_map(|asked| offered.iter().copied().find(|offer| offer == asked)) else {
        let (asked, offered) = (asked.join(" "), offered.join(" "));
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{asked}], server accepts [{offered}]"
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, message));
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => serve(Connection::start(Wire::plain(TokioIo::new(upgraded))), protocol).await,
            Err(error) => tracing::debug!(%error, "upgrade"),
        }
    });
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(UPGRADE_NAME));
    headers.insert(PROTOCOL, HeaderValue::from_static(protocol));
    Ok(answer)
}
