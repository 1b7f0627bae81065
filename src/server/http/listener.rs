//! The HTTPS listener: TLS, HTTP/1.1 and HTTP/2 on one port, and an orderly end.
//!
//! Windows and stream limits are wide enough for hundreds of watches on one connection. A client
//! that does not finish its handshake or its headers in time is dropped, and so is one that asks for nothing for long.
//! There are only so many connections; more wait until some have ended.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authn::{Certificate, Connection};
use super::body::Body;
use super::{ApiServer, body};
use crate::lifecycle::{Component, StartError};

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(30);
const STREAMS: u32 = 4096;
/// All headers of a request together, as Go's server allows.
const HEADER_BYTES: u32 = 1024 * 1024;
/// How long a connection stays open on which nothing is asked and nothing streams (upstream's value).
const IDLE: Duration = Duration::from_secs(90);
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
    let busy = Busy::default();
    let service = service_fn({
        let busy = busy.clone();
        move |request: Request<Incoming>| {
            let (server, connection, busy) = (server.clone(), connection.clone(), busy.clone());
            async move {
                let asked = busy.begin();
                let response = server.serve(&connection, request.map(body::wrap)).await;
                Ok::<_, std::convert::Infallible>(response.map(|body| asked.until_the_end_of(body)))
            }
        }
    });
    let builder = builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = busy.idle() => {} } } => {
            serving.as_mut().graceful_shutdown();
            match timeout(DRAIN, serving).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// What a connection is doing: requests that are not answered to the end.
#[derive(Clone, Default)]
struct Busy(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped.
struct Asked(Busy);

impl Busy {
    fn begin(&self) -> Asked {
        self.0.send_modify(|asked| *asked += 1);
        Asked(self.clone())
    }

    /// Returns when nothing was asked for [`IDLE`].
    async fn idle(&self) {
        let mut asked = self.0.subscribe();
        // The sender lives as long as this.
        while asked.wait_for(|asked| *asked == 0).await.is_ok() {
            if timeout(IDLE, asked.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Asked {
    fn until_the_end_of(self, body: Body) -> Body {
        body.map_frame(move |frame| {
            let _ = &self;
            frame
        })
        .boxed_unsync()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.0.send_modify(|asked| *asked -= 1);
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES as usize);
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_was_asked_for_long() {
        let busy = Busy::default();
        let asked = busy.begin();
        let streaming = asked.until_the_end_of(body::full("x"));
        // Time is paused: it passes only while everybody waits.
        assert!(timeout(IDLE * 10, busy.idle()).await.is_err());
        let begun = tokio::time::Instant::now();
        drop(streaming);
        busy.idle().await;
        assert_eq!(begun.elapsed(), IDLE);
    }
}
