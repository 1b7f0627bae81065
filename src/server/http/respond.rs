//! Answers as HTTP: status codes, media types, warnings. Every failure becomes bytes here.

use bytes::Bytes;
use flate2::Compression;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY, WARNING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use super::body::{self, Body};
use super::gzip;
use super::negotiate::Format;
use crate::api::json_text;
use crate::api::status::{Failure, Result};

/// JSON text as the client wants it.
pub fn bytes(code: u16, json: Bytes, format: Format) -> Result<Response<Body>> {
    let (kind, text) = text_of(json, format)?;
    Ok(typed(code, kind, text))
}

/// The text in its format, and the format's media type.
fn text_of(json: Bytes, format: Format) -> Result<(&'static str, Bytes)> {
    Ok(match format {
        Format::Json => ("application/json", json),
        Format::PrettyJson => ("application/json", json_text::pretty(&json).into()),
        Format::Yaml => {
            let value: serde_json::Value = serde_json::from_slice(&json).map_err(Failure::internal)?;
            ("application/yaml", serde_yaml_ng::to_string(&value).map_err(Failure::internal)?.into())
        }
    })
}

/// From this size on an answer is compressed where the client takes that.
const LARGE: usize = 128 * 1024;

/// An object or a list, compressed where it is large and the client, whose headers these are, asks for it.
pub async fn negotiated(code: u16, json: Bytes, format: Format, request: &HeaderMap) -> Result<Response<Body>> {
    if json.len() <= LARGE || !gzip::accepted(request) {
        return bytes(code, json, format);
    }
    // Some milliseconds for each megabyte, where they keep nobody else waiting.
    let compressed = tokio::task::spawn_blocking(move || {
        let (kind, text) = text_of(json, format)?;
        Ok((kind, gzip::compress(&text, Compression::fast()).map_err(Failure::internal)?))
    });
    let (kind, small) = compressed.await.map_err(Failure::internal)??;
    let mut response = typed(code, kind, small);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    Ok(response)
}

/// A value as JSON or YAML.
pub fn value(code: u16, value: &impl Serialize, format: Format) -> Result<Response<Body>> {
    bytes(code, serde_json::to_vec(value).map_err(Failure::internal)?.into(), format)
}

pub fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    typed(code, "text/plain; charset=utf-8", text)
}

/// An error that is no answer of the API, so no Status: Go's `http.Error`.
pub fn error(code: u16, mut line: String) -> Response<Body> {
    line.push('\n');
    let mut response = text(code, line);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A path that leads nowhere.
pub fn page_not_found() -> Response<Body> {
    error(404, "404 page not found".to_owned())
}

/// A body of the given media type.
pub fn typed(code: u16, media: &'static str, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body::full(content));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// The Status of a failure, with `Retry-After` where the client should come back.
pub fn failure(failure: &Failure, format: Format) -> Response<Body> {
    let mut response = value(failure.code(), &*failure.0, format)
        .unwrap_or_else(|_| text(failure.code(), failure.message().to_owned()));
    let seconds = failure.0.details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(value) = seconds.and_then(|seconds| HeaderValue::from_str(&seconds.to_string()).ok()) {
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// Letters of all warnings together, beyond which each is cut.
const WARNING_LETTERS: usize = 4 * 1024;
/// Letters that a cut warning keeps.
const CUT_WARNING_LETTERS: usize = 256;

/// Adds `Warning: 299 - "…"` headers (RFC 7234, as kubectl reads them): all of them whole, or as many as fit cut short.
/// One that a header cannot carry is left out.
pub fn warn(headers: &mut HeaderMap, warnings: Vec<String>) {
    let letters = |text: &String| text.chars().count();
    let cut = warnings.iter().map(letters).sum::<usize>() > WARNING_LETTERS;
    let mut written = 0;
    for warning in warnings.into_iter().filter(|text| !text.is_empty() && !text.contains(char::is_control)) {
        let text: String = match cut {
            true => warning.chars().take(CUT_WARNING_LETTERS).collect(),
            false => warning,
        };
        if written >= WARNING_LETTERS {
            break;
        }
        written += letters(&text);
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            headers.append(WARNING, value);
        }
    }
}

/// What every answer carries; one that says how long it may be kept goes on saying so.
pub fn common(headers: &mut HeaderMap, audit_id: Option<HeaderValue>) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    let id = audit_id.or_else(|| HeaderValue::from_str(&crate::server::pipeline::random::uid()).ok());
    if let Some(id) = id {
        headers.insert(HeaderName::from_static("audit-id"), id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(texts: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        warn(&mut headers, texts.iter().map(|text| (*text).to_owned()).collect());
        let values = headers.get_all(WARNING).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    #[test]
    fn warnings_are_quoted_and_bounded() {
        assert_eq!(warned(&["a \"b\" \\ é", "two\nlines", ""]), ["299 - \"a \\\"b\\\" \\\\ é\""]);
        let long = "x".repeat(3000);
        assert_eq!(warned(&[&long])[0].len(), 3000 + 8);
        let both = warned(&[&long, &"y".repeat(3000)]);
        assert_eq!(both.iter().map(String::len).collect::<Vec<_>>(), [256 + 8, 256 + 8]);
        let many = vec![long.as_str(); 40];
        assert_eq!(warned(&many).len(), 16);
    }
}
