//! A watch as a WebSocket: each event is a text message. What the client sends is ignored, until it leaves.

use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Extensions, HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::body::{self, Body};
use super::session::Session;
use super::watch::Events;
use crate::api::status::{Failure, Result};

/// The protocol that a client asks for who would rather have this.
pub const PROTOCOL: &str = "websocket";

/// Switches protocols and sends the events for as long as the client listens.
///
/// # Errors
/// 400 where the connection cannot be upgraded.
pub fn respond(events: Events, headers: &HeaderMap, extensions: &mut Extensions) -> Result<Response<Body>> {
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| Failure::bad_request("Sec-WebSocket-Key is missing"))?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(Failure::internal)?;
    let upgrade = extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| Failure::bad_request("this connection cannot be upgraded"))?;
    let session = extensions.remove::<Session>();
    tokio::spawn(async move {
        let work = async {
            match upgrade.await {
                Ok(upgraded) => {
                    send(events, WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await)
                        .await;
                }
                Err(error) => tracing::debug!(%error, "upgrade"),
            }
        };
        match session {
            Some(session) => session.run(work).await,
            None => work.await,
        }
    });
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

async fn send(mut events: Events, mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>) {
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(Ok(line)) = event else { break };
                // JSON is UTF-8.
                let Ok(text) = Utf8Bytes::try_from(line) else { break };
                if socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            heard = socket.next() => match heard {
                None | Some(Err(_) | Ok(Message::Close(_))) => break,
                Some(Ok(_)) => {}
            }
        }
    }
    let _ = socket.close(None).await;
}
