//! How long a client may take: for the headers of a request that it has begun, and between two requests.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::server::http::body::Body;

/// From the first byte of a request, or from the handshake for the first one, to the end of its headers.
pub const HEADERS: Duration = Duration::from_secs(30);
/// How long a connection stays open on which nothing is asked and nothing streams (upstream's value).
pub const IDLE: Duration = Duration::from_secs(90);

/// What a client is doing on its connection.
#[derive(Clone)]
pub struct Pace {
    doing: Arc<watch::Sender<Doing>>,
    /// HTTP/2: what is heard need not be a request.
    multiplexed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    /// It has begun a request and not said all of it.
    Asking,
    /// So many requests are not answered to their end.
    Waiting(usize),
}

/// A request, until it is dropped.
pub struct Asked(Pace);

impl Pace {
    pub fn new(multiplexed: bool) -> Self {
        let doing = if multiplexed { Doing::Nothing } else { Doing::Asking };
        Self { doing: Arc::new(watch::Sender::new(doing)), multiplexed }
    }

    /// Bytes have come.
    pub fn heard(&self) {
        if self.multiplexed || *self.doing.borrow() != Doing::Nothing {
            return;
        }
        self.doing.send_replace(Doing::Asking);
    }

    pub fn asked(&self) -> Asked {
        self.doing.send_modify(|doing| {
            *doing = match *doing {
                Doing::Waiting(requests) => Doing::Waiting(requests + 1),
                Doing::Nothing | Doing::Asking => Doing::Waiting(1),
            }
        });
        Asked(self.clone())
    }

    /// Returns when the client has taken too long.
    pub async fn lost(&self) {
        let mut doing = self.doing.subscribe();
        loop {
            let now = *doing.borrow_and_update();
            let limit = match now {
                Doing::Nothing => IDLE,
                Doing::Asking => HEADERS,
                Doing::Waiting(_) => Duration::MAX,
            };
            // The sender lives as long as this.
            if timeout(limit, doing.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Asked {
    pub fn until_the_end_of(self, body: Body) -> Body {
        body.map_frame(move |frame| {
            let _ = &self;
            frame
        })
        .boxed_unsync()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.doing.send_modify(|doing| {
            *doing = match *doing {
                Doing::Waiting(requests) if requests > 1 => Doing::Waiting(requests - 1),
                _ => Doing::Nothing,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::server::http::body;

    #[tokio::test(start_paused = true)]
    async fn nobody_is_lost_while_something_is_answered() {
        for multiplexed in [false, true] {
            let pace = Pace::new(multiplexed);
            let streaming = pace.asked().until_the_end_of(body::full("x"));
            let second = pace.asked();
            pace.heard();
            drop(second);
            // Time is paused: it passes only while everybody waits.
            assert!(timeout(IDLE * 10, pace.lost()).await.is_err());
            drop(streaming);
            let begun = Instant::now();
            pace.lost().await;
            assert_eq!(begun.elapsed(), IDLE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_begun_has_less_time() {
        for (multiplexed, limit) in [(false, HEADERS), (true, IDLE)] {
            let pace = Pace::new(multiplexed);
            let begun = Instant::now();
            pace.lost().await;
            assert_eq!(begun.elapsed(), limit, "nothing was ever asked");
            drop(pace.asked());
            pace.heard();
            let begun = Instant::now();
            pace.lost().await;
            assert_eq!(begun.elapsed(), limit);
        }
    }
}
