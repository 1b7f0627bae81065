//! How the agent gets its connection to the API server and has it upgraded to a tunnel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Server;
use crate::api::transport::{dial_error, joined};
use crate::api::tunnel::{PATH, PING, PONG, PROTOCOL};

/// From the first packet to the server's 101.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a server's refusal.
const REFUSAL_BYTES: usize = 4096;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot reach the server: {0}")]
    Dial(String),
    #[error("the server's name: {0}")]
    Name(#[from] rustls::pki_types::InvalidDnsNameError),
    #[error("TLS with the server: {0}")]
    Tls(io::Error),
    #[error("{0}")]
    Http(#[from] http::Error),
    #[error("asking the server for a tunnel: {0}")]
    Ask(#[from] hyper::Error),
    #[error("the server refused with {code}: {text}")]
    Refused { code: u16, text: String },
    #[error("the server did not answer in time")]
    Late,
}

/// A connection to the server that has become a tunnel.
pub async fn connect(server: &Server) -> Result<Upgraded, ConnectError> {
    tokio::time::timeout(PATIENCE, ask(server)).await.map_err(|_| ConnectError::Late)?
}

async fn ask(server: &Server) -> Result<Upgraded, ConnectError> {
    let dial = |error: io::Error| ConnectError::Dial(dial_error(&error));
    let stream = server.paths.dial(async {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        settle(&stream)?;
        Ok(stream)
    });
    let stream = TokioIo::new(stream.await.map_err(dial)?);
    let name = ServerName::try_from(server.host.clone())?;
    let mut tls = server.tls.as_ref().clone();
    // HTTP/2 cannot be upgraded.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.map_err(ConnectError::Tls)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the upgrade, or when the sender is dropped.
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(PATH)
        .header(HOST, joined(&server.host, server.port))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, PROTOCOL)
        .body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(hyper::upgrade::on(answer).await?);
    }
    let code = answer.status().as_u16();
    let text = match Limited::new(answer.into_body(), REFUSAL_BYTES).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ConnectError::Refused { code, text })
}

/// The kernel gives up on a dead path, too: pings cannot tell while what was written before them is not gone.
fn settle(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from((PING + PONG).as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, millis)?)
}
