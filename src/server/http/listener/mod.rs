//! The HTTPS listener: TLS, HTTP/1.1 and HTTP/2 on one port, and an orderly end.
//!
//! Windows and stream limits are wide enough for hundreds of watches on one connection. A client
//! that does not finish its handshake or its headers in time is dropped, and so is one that asks for nothing for long.
//! There are only so many connections; more wait until some have ended.

mod pace;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::pace::Pace;
use super::authn::{Certificate, Connection};
use super::body::Body;
use super::{ApiServer, body};
use crate::lifecycle::{Component, StartError};

const HANDSHAKE: Duration = Duration::from_secs(10);
const STREAMS: u32 = 4096;
/// All headers of a request together, as Go's server allows.
const HEADER_BYTES: u32 = 1024 * 1024;
const CONNECTIONS: usize = 8192;
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// How long connections get to finish what they are doing. Sessions end at once.
const DRAIN: Duration = Duration::from_secs(3);

/// The TLS configuration. It looks its certificate up at every handshake, so that a renewed one needs no other.
#[derive(Clone)]
pub struct TlsSource(Arc<ServerConfig>);

impl TlsSource {
    /// The configuration must offer `h2` and `http/1.1` by ALPN.
    pub fn new(config: Arc<ServerConfig>) -> Self {
        Self(config)
    }
}

pub struct Listener {
    server: ApiServer,
    address: SocketAddr,
    tls: TlsSource,
    bound: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listener {
    pub fn new(server: ApiServer, address: SocketAddr, tls: TlsSource) -> Self {
        Self { server, address, tls, bound: None, stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    /// Where it listens, once started: the port is known even when 0 was asked for.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.bound
    }
}

/// One line that says what is wrong with the address and how to mend it.
fn bind_error(address: SocketAddr, error: &io::Error) -> StartError {
    let port = address.port();
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is in use by another process (see `ss -ltnp 'sport = :{port}'`): stop it, or choose another port with --https-listen-port"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "no permission to listen on port {port}: run as root, or choose a port above 1023 with --https-listen-port"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{} is not an address of this machine: choose one with --bind-address", address.ip())
        }
        _ => format!("cannot listen on {address}: {error}"),
    };
    StartError::new("apiserver", message)
}

#[async_trait]
impl Component for Listener {
    fn name(&self) -> &'static str {
        "apiserver"
    }

    async fn start(&mut self) -> Result<(), StartError> {
        let listener = TcpListener::bind(self.address).await.map_err(|error| bind_error(self.address, &error))?;
        self.bound = listener.local_addr().ok();
        let accept = accept(listener, self.server.clone(), self.tls.clone(), self.stop.clone(), self.tasks.clone());
        self.tasks.spawn(accept);
        Ok(())
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(DRAIN * 2, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "connections did not end in time and were cut");
        }
    }
}

async fn accept(listener: TcpListener, server: ApiServer, tls: TlsSource, stop: CancellationToken, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                let connection = connection(socket, peer, server.clone(), tls.0.clone(), stop.clone());
                tasks.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors or the like: wait for some to be freed instead of spinning.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    server: ApiServer,
    tls: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    // Watch events are small and should leave at once.
    let _ = socket.set_nodelay(true);
    let handshake = timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(socket));
    let accepted = tokio::select! {
        accepted = handshake => accepted,
        () = stop.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let certificate = certificates.and_then(<[_]>::first).and_then(|certificate| Certificate::parse(certificate));
    let connection = Arc::new(Connection { certificate, peer: Some(peer), closing: stop.clone() });
    let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let respond = move |request: Request<Incoming>| {
        let (server, connection) = (server.clone(), connection.clone());
        async move { server.serve(&connection, request.map(body::wrap)).await }
    };
    if let Err(error) = converse(stream, multiplexed, respond, &stop).await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Answers requests until the client ends, takes too long, or all shall stop.
async fn converse<S, R>(
    stream: S,
    multiplexed: bool,
    respond: impl Fn(Request<Incoming>) -> R,
    stop: &CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let pace = Pace::new(multiplexed);
    let reading = pace.clone();
    let stream = InspectReader::new(stream, move |_: &[u8]| reading.heard());
    let service = service_fn(|request| {
        let asked = pace.asked();
        let answer = respond(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await.map(|body| asked.until_the_end_of(body))) }
    });
    let builder = builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    tokio::select! {
        result = serving.as_mut() => result,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = pace.lost() => {} } } => {
            serving.as_mut().graceful_shutdown();
            timeout(DRAIN, serving).await.unwrap_or(Ok(()))
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Its limit for headers would end idle connections too; ours is `Pace`.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, sleep};

    use super::pace::{HEADERS, IDLE};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_longer_than_one_that_does_not_finish_to_ask() {
        let (mut client, server) = tokio::io::duplex(1 << 10);
        let respond = |_| async { Response::new(body::empty()) };
        let stop = CancellationToken::new();
        let ended = tokio::spawn(async move { converse(server, false, respond, &stop).await.map_err(drop) });
        let mut answer = [0; 1 << 10];
        for _ in 0..2 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let read = client.read(&mut answer).await.unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&answer[..read]));
            sleep(IDLE - Duration::from_secs(1)).await;
        }
        client.write_all(b"GET / HT").await.unwrap();
        let begun = Instant::now();
        sleep(HEADERS / 2).await;
        client.write_all(b"TP/1.1\r\n").await.unwrap();
        assert_eq!(client.read(&mut answer).await.unwrap(), 0, "no answer");
        ended.await.unwrap().unwrap();
        assert!((HEADERS..HEADERS + DRAIN * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}
