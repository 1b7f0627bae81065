//! One tunnel while it lives: HTTP/2 whose client is the server, over a connection that the agent made. Hands out streams;
//! knows nothing of what they carry.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, Connection, SendRequest};
use hyper::rt::{Executor, Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use crate::api::tunnel::{CONNECTION_WINDOW, Destination, PING, PONG, STREAM_WINDOW};

/// As long as a direct connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an agent's reason.
const REASON_BYTES: usize = 1024;

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The agent tried, and what it was to connect with did not answer. Nobody can know better.
    #[error("{0}")]
    Destination(io::Error),
    /// The agent will not, or cannot be spoken with.
    #[error("{0}")]
    Tunnel(io::Error),
}

fn broken(error: impl std::fmt::Display) -> Refused {
    Refused::Tunnel(io::Error::other(format!("the node's tunnel: {error}")))
}

/// What is reached on a node; one may be reachable without a tunnel and the other not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kubelet,
    Pods,
}

pub struct Tunnel {
    streams: SendRequest<Empty<Bytes>>,
    closed: CancellationToken,
    /// What was reached by the tunnel and not without, by [`Kind`].
    needed: [AtomicBool; 2],
}

impl Tunnel {
    /// Begins to speak on an upgraded connection; the second drives the tunnel and ends with it. Everything that belongs
    /// to it ends when `closed` is cancelled.
    pub async fn begin<W>(
        wire: W,
        closed: CancellationToken,
    ) -> hyper::Result<(Self, Connection<W, Empty<Bytes>, Tasks>)>
    where
        W: Read + Write + Send + Unpin + 'static,
    {
        let mut builder = http2::Builder::new(Tasks(closed.clone()));
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true);
        let (streams, driver) = builder.handshake(wire).await?;
        Ok((Self { streams, closed, needed: Default::default() }, driver))
    }

    /// Ends it, and every stream in it.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Whether it was found that there is no other way.
    pub fn is_needed_for(&self, kind: Kind) -> bool {
        self.needed[kind as usize].load(Ordering::Relaxed)
    }

    /// Remembers, for as long as the tunnel lives, that there is no other way.
    pub fn found_needed_for(&self, kind: Kind) {
        self.needed[kind as usize].store(true, Ordering::Relaxed);
    }

    /// A connection with something on the node.
    pub async fn connect(&self, to: Destination) -> Result<TokioIo<Upgraded>, Refused> {
        let late = |_| Refused::Tunnel(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout"));
        tokio::time::timeout(PATIENCE, self.ask(to)).await.map_err(late)?
    }

    async fn ask(&self, to: Destination) -> Result<TokioIo<Upgraded>, Refused> {
        let request = Request::connect(to.to_string()).body(Empty::new()).map_err(broken)?;
        let answer = self.streams.clone().send_request(request).await.map_err(broken)?;
        match answer.status() {
            StatusCode::OK => Ok(TokioIo::new(hyper::upgrade::on(answer).await.map_err(broken)?)),
            StatusCode::BAD_GATEWAY => Err(Refused::Destination(io::Error::other(reason(answer.into_body()).await))),
            _ => Err(broken(reason(answer.into_body()).await)),
        }
    }
}

async fn reason(body: Incoming) -> String {
    match Limited::new(body, REASON_BYTES).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => error.to_string(),
    }
}

/// Runs hyper's tasks until the tunnel is closed: one of them holds the connection.
#[derive(Clone)]
pub struct Tasks(CancellationToken);

impl<F> Executor<F> for Tasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dead_path_is_noticed() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let closed = CancellationToken::new();
        let (tunnel, driver) = Tunnel::begin(TokioIo::new(near), closed).await.unwrap();
        let begun = tokio::time::Instant::now();
        // It hears everything and says nothing.
        let silence = tokio::spawn(async move { tokio::io::copy(&mut far, &mut tokio::io::sink()).await });
        let (_, asked) = tokio::join!(driver, tunnel.connect(Destination::Kubelet));
        assert_eq!(begun.elapsed().as_secs(), (PING + PONG).as_secs());
        assert!(matches!(asked, Err(Refused::Tunnel(_))));
        drop(tunnel);
        silence.await.unwrap().unwrap();
    }
}
