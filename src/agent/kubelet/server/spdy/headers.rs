//! SPDY's header blocks: names and values, compressed with one zlib stream for each direction of a connection and
//! the dictionary of SPDY/3. Pure.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Names (in lower case) and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a block of headers cannot be read")]
pub struct Unreadable;

/// A block that grows beyond this is an attack.
const LARGEST: usize = 64 * 1024;

/// Reads the blocks of one direction, in order.
pub struct Reader(Decompress);

impl Default for Reader {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Reader {
    pub fn read(&mut self, block: &[u8]) -> Result<Headers, Unreadable> {
        let plain = self.inflate(block)?;
        parse(Bytes::from(plain)).ok_or(Unreadable)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let mut plain = Vec::with_capacity(1024);
        loop {
            let (taken, made) = (self.0.total_in(), plain.len());
            match self.0.decompress_vec(block, &mut plain, FlushDecompress::Sync) {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => return Err(Unreadable),
                // The first block names the dictionary.
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| Unreadable)?;
                }
                Err(_) => return Err(Unreadable),
            }
            let taken = usize::try_from(self.0.total_in() - taken).map_err(|_| Unreadable)?;
            block = block.get(taken..).ok_or(Unreadable)?;
            if plain.len() > LARGEST {
                return Err(Unreadable);
            }
            if plain.len() < plain.capacity() && block.is_empty() {
                return Ok(plain);
            }
            if plain.len() == plain.capacity() {
                plain.reserve(1024);
            } else if taken == 0 && plain.len() == made {
                return Err(Unreadable);
            }
        }
    }
}

fn parse(mut block: Bytes) -> Option<Headers> {
    let count = block.try_get_u32().ok()?;
    let mut text = || {
        let length = usize::try_from(block.try_get_u32().ok()?).ok()?;
        if length > block.len() {
            return None;
        }
        Some(String::from_utf8_lossy(&block.split_to(length)).into_owned())
    };
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((text()?.to_ascii_lowercase(), text()?));
    }
    Some(Headers(headers))
}

/// Writes the blocks of one direction, in order.
pub struct Writer(Compress);

impl Writer {
    pub fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        // Fails only for a stream that has begun.
        let _ = compress.set_dictionary(&dictionary());
        Self(compress)
    }

    /// The block of these headers.
    pub fn write(&mut self, headers: &[(&str, &str)]) -> Bytes {
        let mut plain = BytesMut::new();
        plain.put_u32(headers.len() as u32);
        for (name, value) in headers {
            for text in [name, value] {
                plain.put_u32(text.len() as u32);
                plain.put_slice(text.as_bytes());
            }
        }
        // A sync flush adds a few bytes to what may not shrink at all.
        let mut block = Vec::with_capacity(plain.len() + 128);
        if let Err(error) = self.0.compress_vec(&plain, &mut block, FlushCompress::Sync) {
            tracing::error!(%error, "headers not compressed");
        }
        block.into()
    }
}

const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
    publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// SPDY/3's: words with their lengths, then plain text. Made when a connection begins, not kept.
fn dictionary() -> Vec<u8> {
    let mut out = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace() {
        out.put_u32(word.len() as u32);
        out.put_slice(word.replace('_', " ").as_bytes());
    }
    out.put_slice(REST.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_spdys() {
        let dictionary = dictionary();
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in &dictionary {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        // Its Adler-32 is what every SPDY/3 peer puts before its first block.
        assert_eq!((dictionary.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn blocks_share_one_stream() {
        let (mut writer, mut reader) = (Writer::new(), Reader::default());
        for port in ["80", "443"] {
            let block = writer.write(&[("streamtype", "data"), ("port", port)]);
            assert_eq!(reader.read(&block).unwrap().get("port"), Some(port));
        }
        let long = "x".repeat(20_000);
        let block = writer.write(&[("empty", ""), ("long", &long)]);
        assert_eq!(reader.read(&block).map(|headers| headers.get("long").map(str::len)).ok(), Some(Some(20_000)));
        assert!(reader.read(b"\xff\xff\xff\xff").is_err());
    }

    #[test]
    fn a_block_that_explodes_is_refused() {
        let huge = "x".repeat(LARGEST + 1);
        let block = Writer::new().write(&[("a", &huge)]);
        assert!(Reader::default().read(&block).is_err());
    }
}
