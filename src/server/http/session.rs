//! Requests that last as long as their client wants: watches, logs, sessions in containers.
//!
//! They are counted while they last, and end when the listener they came by stops, so that nobody has
//! to wait for them. Those of in-process callers end with their callers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::audit::Trail;
use super::body::{Body, BoxError};
use super::metrics::Running;

/// Found in the extensions of a request that begins one. It lasts until the last clone is dropped.
#[derive(Clone)]
pub struct Session {
    running: Arc<Running>,
    closing: CancellationToken,
    /// Its record is complete when it ends.
    trail: Option<Arc<Trail>>,
}

impl Session {
    pub(super) fn new(running: Arc<Running>, closing: CancellationToken, trail: Option<Arc<Trail>>) -> Self {
        Self { running, closing, trail }
    }

    /// The body of the session's answer: ends like `body`, or when the server stops.
    pub(super) fn hold(self, body: Body) -> Body {
        let closed = Box::pin(self.closing.cancelled_owned());
        Held { body, closed, _running: self.running, _trail: self.trail }.boxed_unsync()
    }

    /// Runs what remains of a session that has left HTTP behind.
    pub async fn run(self, work: impl Future) {
        tokio::select! {
            _ = work => {}
            () = self.closing.cancelled() => {}
        }
    }
}

struct Held {
    body: Body,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    _running: Arc<Running>,
    _trail: Option<Arc<Trail>>,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.closed.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
