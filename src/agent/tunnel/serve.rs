//! The agent's end of a tunnel: HTTP/2 whose server is the agent. Every stream is a CONNECT; what it may lead to is decided
//! here, and bytes are carried both ways until either side is done.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::TunnelConfig;
use crate::api::transport::dial_error;
use crate::api::tunnel::{CONNECTION_WINDOW, Destination, PING, PONG, STREAM_WINDOW, STREAMS};

/// How long what is to be connected with may take; the server waits as long.
const DIAL: Duration = Duration::from_secs(10);
/// How long a stream of which one direction has ended may go on in the other, as the kernel limits orphaned connections:
/// a server that is no longer there cannot say so to a pod that says nothing.
const LINGER: Duration = Duration::from_secs(60);
/// How long the last words of a tunnel may take.
const DRAIN: Duration = Duration::from_secs(1);

type Answer = Response<Full<Bytes>>;

/// Serves until the tunnel ends, and says why it did.
pub async fn serve(wire: impl Read + Write + Unpin, config: &TunnelConfig, stop: &CancellationToken) -> String {
    // What is carried ends with the tunnel.
    let ended = CancellationToken::new();
    let _end = ended.clone().drop_guard();
    let service = service_fn(|request| {
        let (config, ended) = (config.clone(), ended.clone());
        async move { Ok::<_, Infallible>(answer(request, &config, ended).await) }
    });
    let connection = builder().serve_connection(wire, service);
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            ended.cancel();
            timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    match result {
        Ok(()) => "closed".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder
}

/// Answers a CONNECT and leaves the rest to a task.
async fn answer(mut request: Request<Incoming>, config: &TunnelConfig, ended: CancellationToken) -> Answer {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| request.method() == Method::CONNECT);
    let Some(upgrade) = upgrade else {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "only CONNECT");
    };
    let wanted = request.uri().authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let Some(address) = address(wanted, config) else {
        tracing::warn!(wanted, "the server asked for an address that is no pod's of this node");
        return refuse(StatusCode::FORBIDDEN, &format!("{wanted} is no pod's of this node"));
    };
    match dial(address).await {
        Ok(stream) => {
            tokio::spawn(ended.run_until_cancelled_owned(carry(upgrade, stream)));
            Response::new(Full::default())
        }
        Err(reason) => refuse(StatusCode::BAD_GATEWAY, &reason),
    }
}

/// Where the stream may lead.
fn address(wanted: &str, config: &TunnelConfig) -> Option<SocketAddr> {
    match Destination::parse(wanted)? {
        Destination::Kubelet => Some((Ipv4Addr::LOCALHOST, config.kubelet_port).into()),
        Destination::Pod(address) => (config.is_pod)(address).then_some(address),
    }
}

fn refuse(status: StatusCode, reason: &str) -> Answer {
    let mut answer = Response::new(Full::from(reason.to_owned()));
    *answer.status_mut() = status;
    answer
}

async fn dial(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = timeout(DIAL, TcpStream::connect(address)).await.map_err(|_| "i/o timeout".to_owned())?;
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    stream.map_err(|error| dial_error(&error))
}

/// Carries bytes until both directions have ended, or one has failed.
async fn carry(upgrade: OnUpgrade, mut target: TcpStream) {
    let Ok(tunnel) = upgrade.await else { return };
    let (mut from_server, mut to_server) = tokio::io::split(TokioIo::new(tunnel));
    let (mut from_target, mut to_target) = target.split();
    let inwards = pin!(async {
        copy(&mut from_server, &mut to_target).await?;
        to_target.shutdown().await
    });
    let outwards = pin!(async {
        copy(&mut from_target, &mut to_server).await?;
        to_server.shutdown().await
    });
    both(inwards, outwards).await;
}

async fn both(one: impl Future<Output = io::Result<()>> + Unpin, other: impl Future<Output = io::Result<()>> + Unpin) {
    use futures::future::{Either, select};
    let rest = match select(one, other).await {
        Either::Left((Ok(()), other)) => Either::Left(other),
        Either::Right((Ok(()), one)) => Either::Right(one),
        // Whoever broke off has heard; who is left will.
        _ => return,
    };
    let _ = timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests {
    use super::super::Server;
    use super::*;
    use std::sync::Arc;

    fn config() -> TunnelConfig {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let range: ipnet::IpNet = "10.42.1.0/24".parse().unwrap();
        let tls = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        TunnelConfig {
            server: Server {
                host: "server".into(),
                port: 6443,
                tls: Arc::new(tls.with_no_client_auth()),
                paths: Default::default(),
            },
            kubelet_port: 10250,
            is_pod: Arc::new(move |address| range.contains(&address.ip())),
            node: tokio::sync::watch::channel(None).1,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_path_is_noticed() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        // A server that begins, with empty settings, and then says nothing.
        far.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let begun = tokio::time::Instant::now();
        serve(TokioIo::new(near), &config(), &CancellationToken::new()).await;
        assert_eq!(begun.elapsed().as_secs(), (PING + PONG).as_secs());
    }

    #[test]
    fn only_the_kubelet_and_the_nodes_own_pods_are_reached() {
        let config = config();
        let to = |wanted| address(wanted, &config).map(|address| address.to_string());
        assert_eq!(to("kubelet").as_deref(), Some("127.0.0.1:10250"));
        assert_eq!(to("10.42.1.5:80").as_deref(), Some("10.42.1.5:80"));
        for wanted in ["10.42.2.5:80", "127.0.0.1:22", "192.168.1.1:80", "[::1]:80", "kubelet:22", "localhost:80", ""] {
            assert_eq!(to(wanted), None, "{wanted}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_direction_alone_does_not_go_on_for_ever() {
        let begun = tokio::time::Instant::now();
        let silent = std::future::pending::<io::Result<()>>;
        both(std::future::ready(Ok(())), silent()).await;
        assert_eq!(begun.elapsed(), LINGER);
        both(silent(), std::future::ready(Err(io::ErrorKind::BrokenPipe.into()))).await;
        assert_eq!(begun.elapsed(), LINGER, "a failure ends both at once");
    }
}
