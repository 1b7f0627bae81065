//! The WebSocket subprotocols of exec, attach and port forwarding (`v4.channel.k8s.io`, `v5.channel.k8s.io`): the
//! upgrade, and frames whose first byte names a channel. Moves bytes; knows no container.

use std::future::Future;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{self, Message};

use super::answer::{Answer, Failure, whole};

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const ERROR: u8 = 3;
pub const RESIZE: u8 = 4;
/// In v5: the second byte names a channel whose sender has finished.
const CLOSE: u8 = 255;

pub const V5: &str = "v5.channel.k8s.io";
pub const V4: &str = "v4.channel.k8s.io";

pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Accepts the upgrade with the first of `offered` that the client speaks and runs `serve` on the stream.
pub fn upgrade<F, S>(mut request: Request<Incoming>, offered: &[&'static str], serve: F) -> Result<Answer, Failure>
where
    F: FnOnce(Socket, &'static str) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let header =
        |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !header(UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(Failure::bad("unable to upgrade: a WebSocket is required"));
    }
    let protocols: Vec<_> = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    let Some(protocol) = offered.iter().copied().find(|offer| protocols.contains(offer)) else {
        return Err(Failure::bad(format!("unable to upgrade: none of the subprotocols {protocols:?} is supported")));
    };
    let key = header(SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(Failure::bad("unable to upgrade: Sec-WebSocket-Key is missing"));
    }
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                serve(socket, protocol).await;
            }
            Err(error) => tracing::debug!(%error, "upgrade"),
        }
    });
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).map_err(Failure::internal)?);
    Ok(answer)
}

/// What the client sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    Data(u8, Bytes),
    /// The client will send nothing more on the channel.
    Finished(u8),
}

/// The client's side.
pub struct Inputs(SplitStream<Socket>);

impl Inputs {
    /// `None` when the client has left.
    pub async fn next(&mut self) -> Option<Input> {
        loop {
            match self.0.next().await? {
                Ok(Message::Binary(frame)) => {
                    if let Some(input) = read(frame) {
                        return Some(input);
                    }
                }
                Ok(Message::Text(text)) => {
                    if let Some(input) = read(text.into()) {
                        return Some(input);
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

fn read(mut frame: Bytes) -> Option<Input> {
    if frame.is_empty() {
        return None;
    }
    let channel = frame.split_to(1)[0];
    match channel {
        CLOSE => frame.first().map(|channel| Input::Finished(*channel)),
        _ => Some(Input::Data(channel, frame)),
    }
}

/// Our side.
pub struct Outputs(SplitSink<Socket, Message>);

/// A client that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

impl Outputs {
    pub async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), tungstenite::Error> {
        let mut frame = BytesMut::with_capacity(data.len() + 1);
        frame.put_u8(channel);
        frame.put_slice(data);
        let sent = tokio::time::timeout(PATIENCE, self.0.send(Message::Binary(frame.freeze()))).await;
        sent.unwrap_or(Err(tungstenite::Error::ConnectionClosed))
    }

    pub async fn close(&mut self) {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let closing = async {
            let _ = self.0.send(Message::Close(Some(frame))).await;
            let _ = self.0.close().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), closing).await;
    }
}

pub fn split(socket: Socket) -> (Outputs, Inputs) {
    let (sink, stream) = socket.split();
    (Outputs(sink), Inputs(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_name_their_channel() {
        assert_eq!(read(Bytes::from_static(b"\x00hello")), Some(Input::Data(STDIN, Bytes::from_static(b"hello"))));
        assert_eq!(read(Bytes::from_static(b"\xff\x00")), Some(Input::Finished(STDIN)));
        assert_eq!(read(Bytes::from_static(b"\x00")), Some(Input::Data(STDIN, Bytes::new())));
        assert_eq!(read(Bytes::new()), None);
    }
}
