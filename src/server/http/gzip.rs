//! Compressed answers, for clients that ask for them.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Whether the client takes gzip: upstream looks for the bare word.
pub fn accepted(headers: &HeaderMap) -> bool {
    let given = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(',').any(|coding| coding.trim() == "gzip")
}

pub fn compress(content: &[u8], level: Compression) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 8), level);
    encoder.write_all(content)?;
    encoder.finish().map(Bytes::from)
}

pub fn decompress(content: &[u8]) -> std::io::Result<Bytes> {
    let mut whole = Vec::new();
    GzDecoder::new(content).read_to_end(&mut whole)?;
    Ok(whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_by_name_only() {
        for (given, expected) in [("gzip", true), ("deflate, gzip", true), ("gzip;q=1", false), ("br", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, given.parse().unwrap());
            assert_eq!(accepted(&headers), expected, "{given}");
        }
        let text = "kind: Pod ".repeat(1000);
        let small = compress(text.as_bytes(), Compression::fast()).unwrap();
        assert!(small.len() < text.len() / 10);
        assert_eq!(decompress(&small).unwrap(), text.as_bytes());
    }
}
