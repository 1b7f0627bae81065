//! The channels of exec, attach and port forwarding: frames of a WebSocket whose first byte names a channel
//! (`channel.k8s.io`, its `base64.` form, `v4.` and `v5.`). Moves bytes; knows no container.

use std::future::Future;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
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

/// One way to put channels on a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// The subprotocol; empty where the client asks for none.
    pub name: &'static str,
    /// Text frames: the channel as a digit, the rest in base64.
    base64: bool,
    /// The end of a process is told as a Status; older clients get text, and nothing at success.
    pub tells_status: bool,
    /// A channel can be closed by itself.
    pub closes: bool,
}

const fn protocol(name: &'static str, base64: bool, tells_status: bool, closes: bool) -> Protocol {
    Protocol { name, base64, tells_status, closes }
}

const V4: Protocol = protocol("v4.channel.k8s.io", false, true, false);
const V4_BASE64: Protocol = protocol("v4.base64.channel.k8s.io", true, true, false);
const UNNAMED: Protocol = protocol("", false, false, false);
pub const NEWEST: Protocol = protocol("v5.channel.k8s.io", false, true, true);
/// Of exec and attach.
pub const REMOTE_COMMAND: [Protocol; 6] = [
    NEWEST,
    V4,
    V4_BASE64,
    protocol("channel.k8s.io", false, false, false),
    protocol("base64.channel.k8s.io", true, false, false),
    UNNAMED,
];
/// Of port forwarding.
pub const PORT_FORWARD: [Protocol; 3] = [V4, V4_BASE64, UNNAMED];

pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The subprotocols that a client asks for, in its order.
pub fn asked(request: &Request<Incoming>) -> Vec<&str> {
    let values = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',').map(str::trim)).collect()
}

/// Accepts the upgrade with the first of the client's subprotocols that is `offered` and runs `serve` on the stream.
pub fn upgrade<F, S>(request: Request<Incoming>, offered: &[Protocol], serve: F) -> Result<Answer, Failure>
where
    F: FnOnce(Socket, Protocol) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let chosen = choose(&asked(&request), offered)?;
    accept(request, chosen.name, move |socket| serve(socket, chosen))
}

fn choose(asked: &[&str], offered: &[Protocol]) -> Result<Protocol, Failure> {
    let wanted = if asked.is_empty() { &[""][..] } else { asked };
    let chosen = wanted.iter().find_map(|asked| offered.iter().find(|offer| offer.name == *asked));
    chosen.copied().ok_or_else(|| {
        Failure::bad(format!("unable to upgrade: none of the subprotocols [{}] is supported", asked.join(" ")))
    })
}

/// Accepts the upgrade to a WebSocket with this subprotocol and runs `serve` on it.
pub fn accept<F, S>(mut request: Request<Incoming>, protocol: &'static str, serve: F) -> Result<Answer, Failure>
where
    F: FnOnce(Socket) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let header =
        |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !header(UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(Failure::bad("unable to upgrade: a WebSocket or SPDY/3.1 is required"));
    }
    let key = header(SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(Failure::bad("unable to upgrade: Sec-WebSocket-Key is missing"));
    }
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await).await;
            }
            Err(error) => tracing::debug!(%error, "upgrade"),
        }
    });
    let mut answer = Response::new(whole(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if !protocol.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
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
pub struct Inputs(SplitStream<Socket>, Protocol);

impl Inputs {
    /// `None` when the client has left.
    pub async fn next(&mut self) -> Option<Input> {
        loop {
            let frame = match self.0.next().await? {
                Ok(Message::Binary(frame)) => frame,
                Ok(Message::Text(text)) => text.into(),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => continue,
            };
            if let Some(input) = read(frame, self.1) {
                return Some(input);
            }
        }
    }
}

fn read(mut frame: Bytes, protocol: Protocol) -> Option<Input> {
    if frame.is_empty() {
        return None;
    }
    let channel = frame.split_to(1)[0];
    match channel {
        _ if protocol.base64 => {
            let data = BASE64.decode(&frame).ok()?;
            channel.is_ascii_digit().then(|| Input::Data(channel - b'0', data.into()))
        }
        CLOSE if protocol.closes => frame.first().map(|channel| Input::Finished(*channel)),
        _ => Some(Input::Data(channel, frame)),
    }
}

fn written(channel: u8, data: &[u8], protocol: Protocol) -> Message {
    if protocol.base64 {
        return Message::text(format!("{channel}{}", BASE64.encode(data)));
    }
    let mut frame = BytesMut::with_capacity(data.len() + 1);
    frame.put_u8(channel);
    frame.put_slice(data);
    Message::Binary(frame.freeze())
}

/// Our side.
pub struct Outputs(SplitSink<Socket, Message>, Protocol);

/// A client that takes nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(4 * 3600);

impl Outputs {
    pub async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), tungstenite::Error> {
        let sent = tokio::time::timeout(PATIENCE, self.0.send(written(channel, data, self.1))).await;
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

pub fn split(socket: Socket, protocol: Protocol) -> (Outputs, Inputs) {
    let (sink, stream) = socket.split();
    (Outputs(sink, protocol), Inputs(stream, protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_name_their_channel() {
        let read_v5 = |frame: &'static [u8]| read(Bytes::from_static(frame), NEWEST);
        assert_eq!(read_v5(b"\x00hello"), Some(Input::Data(STDIN, Bytes::from_static(b"hello"))));
        assert_eq!(read_v5(b"\xff\x00"), Some(Input::Finished(STDIN)));
        assert_eq!(read_v5(b"\x00"), Some(Input::Data(STDIN, Bytes::new())));
        assert_eq!(read_v5(b""), None);
        assert_eq!(read(Bytes::from_static(b"\xff\x00"), V4), Some(Input::Data(255, Bytes::from_static(b"\x00"))));
    }

    #[test]
    fn text_frames_carry_base64() {
        assert_eq!(written(STDOUT, b"hello", V4_BASE64), Message::text("1aGVsbG8="));
        let read_text = |frame: &'static [u8]| read(Bytes::from_static(frame), V4_BASE64);
        assert_eq!(read_text(b"0aGVsbG8="), Some(Input::Data(STDIN, Bytes::from_static(b"hello"))));
        assert_eq!(read_text(b"0!"), None);
    }

    #[test]
    fn the_clients_order_decides() {
        let chosen = |asked: &[&str]| choose(asked, &REMOTE_COMMAND).map(|protocol| protocol.name).ok();
        assert_eq!(chosen(&["v4.channel.k8s.io", "v5.channel.k8s.io"]), Some("v4.channel.k8s.io"));
        assert_eq!(chosen(&["v9.channel.k8s.io", "base64.channel.k8s.io"]), Some("base64.channel.k8s.io"));
        assert_eq!(chosen(&[]), Some(""));
        assert_eq!(chosen(&["v9.channel.k8s.io"]), None);
    }
}
