//! A watch as a streamed response: one JSON object a line.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::body::{self, Body, BoxError};
use super::metrics;
use super::negotiate::{Accept, View};
use super::view::{self, Include};
use crate::api::status::Result;
use crate::server::pipeline::watch::{WatchEvent, WatchKind, WatchStream};

/// The events of a watch as the client wants to see them.
pub struct Events {
    stream: WatchStream,
    view: View,
    include: Include,
    /// The columns of a table were not described yet.
    first: bool,
    sent: metrics::Events,
}

impl Events {
    /// `sent` counts them.
    pub fn new(stream: WatchStream, accept: Accept, include: Include, sent: metrics::Events) -> Self {
        Self { stream, view: accept.view, include, first: true, sent }
    }

    /// The next one, as a line of JSON; `None` at the end of the watch.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        let event = self.stream.next().await?;
        let line = self.line(&event);
        self.sent.sent(line.as_ref().map_or(0, Bytes::len));
        self.first = false;
        Some(line)
    }

    fn line(&self, event: &WatchEvent) -> Result<Bytes> {
        let object = match event.kind {
            WatchKind::Error => event.object.clone(),
            _ => {
                let kind = &*self.stream.context().kind;
                view::event(kind, &event.object, self.view, self.include, self.first)?
            }
        };
        let mut out = Vec::with_capacity(object.len() + 32);
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(event.kind.as_str().as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        out.extend_from_slice(&object);
        out.extend_from_slice(b"}\n");
        Ok(out.into())
    }
}

pub fn respond(events: Events) -> Response<Body> {
    let lines = futures::stream::unfold(events, |mut events| async move {
        let line = events.next().await?.map_err(|failure| BoxError::from(failure.to_string()));
        Some((line, events))
    });
    let mut response = Response::new(body::stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
