//! Bodies of requests and responses on the server side.

use std::error::Error;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;

use crate::api::status::{Failure, Result};

pub type BoxError = Box<dyn Error + Send + Sync>;
/// The body type everywhere on the server side.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The largest request body, as upstream's.
pub const LIMIT: usize = 3 * 1024 * 1024;

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is sent piece by piece, as pieces come.
pub fn stream(pieces: impl futures::Stream<Item = std::result::Result<Bytes, BoxError>> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// Any body as ours.
pub fn wrap<B>(body: B) -> Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Reads a whole request body.
///
/// # Errors
/// 413 beyond [`LIMIT`]; 400 where the client broke off.
pub async fn read(mut body: Body) -> Result<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::bad_request(format!("unable to read the request body: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LIMIT {
            return Err(Failure::request_too_large(LIMIT));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
