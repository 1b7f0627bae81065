//! Answers of the kubelet's server and its failures, in one place.

use std::fmt::Display;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub type Answer = Response<Body>;

/// A status code and the text that goes with it.
#[derive(Debug)]
pub struct Failure {
    pub code: StatusCode,
    pub message: String,
}

impl Failure {
    pub fn new(code: StatusCode, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    pub fn not_found(message: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn bad(message: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn internal(message: impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden: only the API server may use this")
    }

    pub fn into_answer(self) -> Answer {
        let mut answer = text(&self.message);
        *answer.status_mut() = self.code;
        answer
    }
}

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn with_type(body: Body, kind: &'static str) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

pub fn text(text: &str) -> Answer {
    with_type(whole(text.to_owned()), "text/plain; charset=utf-8")
}

pub fn json(value: &impl Serialize) -> Result<Answer, Failure> {
    let bytes = serde_json::to_vec(value).map_err(Failure::internal)?;
    Ok(with_type(whole(bytes), "application/json"))
}

/// A text that is still being written; it ends with its sender.
pub fn stream(chunks: mpsc::Receiver<Bytes>) -> Answer {
    let frames = futures::stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.recv().await?;
        Some((Ok(Frame::data(chunk)), chunks))
    });
    with_type(StreamBody::new(frames).boxed_unsync(), "text/plain; charset=utf-8")
}
