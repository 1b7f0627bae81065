//! A watch as a streamed response: one JSON object a line.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use prometheus_client::metrics::counter::Counter;

use super::body::{self, Body, BoxError};
use super::negotiate::{Accept, View};
use super::view::{self, Include};
use crate::api::status::Result;
use crate::server::pipeline::watch::{WatchEvent, WatchKind, WatchStream};

/// `sent` counts the events.
pub fn respond(stream: WatchStream, accept: Accept, include: Include, sent: Counter) -> Response<Body> {
    let state = (stream, true, sent);
    let lines = futures::stream::unfold(state, move |(mut stream, first, sent)| async move {
        let event = stream.next().await?;
        sent.inc();
        let line = line(&stream, &event, accept.view, include, first);
        let shown = matches!(event.kind, WatchKind::Added | WatchKind::Modified | WatchKind::Deleted);
        let line = line.map_err(|failure| BoxError::from(failure.to_string()));
        Some((line, (stream, first && !shown, sent)))
    });
    let mut response = Response::new(body::stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn line(stream: &WatchStream, event: &WatchEvent, view: View, include: Include, first: bool) -> Result<Bytes> {
    let object = match event.kind {
        WatchKind::Error => event.object.clone(),
        _ => view::event(&*stream.context().kind, &event.object, view, include, first)?,
    };
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(event.kind.as_str().as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(&object);
    out.extend_from_slice(b"}\n");
    Ok(out.into())
}
