//! Answers that clients keep: an `ETag` that says what the content is, and 304 for who has it already.

use bytes::Bytes;
use http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};
use sha2::{Digest, Sha512};

use super::body::{self, Body};
use crate::api::hex::hex;

/// The hash of a content in upper-case hexadecimal digits, as upstream writes it.
pub fn hash(content: &[u8]) -> String {
    hex(&Sha512::digest(content)).to_ascii_uppercase()
}

/// The response with its tag; without a body where the client says that it has the content.
pub fn tagged(mut response: Response<Body>, hash: &str, request: &HeaderMap) -> Response<Body> {
    let tag = format!("\"{hash}\"");
    if known(request, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = body::full(Bytes::new());
    }
    if let Ok(value) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

/// Whether `If-None-Match` names the tag (RFC 9110, 13.1.2: weakly compared).
fn known(request: &HeaderMap, tag: &str) -> bool {
    let given = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        for (given, expected) in
            [("\"a\"", true), ("W/\"a\"", true), ("\"b\", \"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, given.parse().unwrap());
            assert_eq!(known(&headers, "\"a\""), expected, "{given}");
        }
        assert!(!known(&HeaderMap::new(), "\"a\""));
    }
}
