//! Links in HTML that passes by: attributes that hold URLs are rewritten, everything else stays as it is, byte for
//! byte. Works piece by piece, so that a page of any size needs no more memory than its longest tag.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzDecoder, GzEncoder};
use futures::TryStreamExt;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyStream;

use super::links::Links;
use crate::server::http::body::{Body, stream};

/// How a body is packed; pages packed otherwise are not looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

pub fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    match headers.get(CONTENT_ENCODING).map(|value| value.to_str()) {
        None | Some(Ok("")) => Some(Encoding::Plain),
        Some(Ok("gzip")) => Some(Encoding::Gzip),
        Some(Ok("deflate")) => Some(Encoding::Deflate),
        Some(_) => None,
    }
}

/// The body with its links rewritten, packed as it was.
pub fn rewrite(body: Body, encoding: Encoding, links: Links) -> Body {
    let page = Page::new(encoding, links);
    let pieces = BodyStream::new(body).try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())));
    stream(futures::stream::try_unfold(Some((pieces, page)), |state| async move {
        let Some((mut pieces, mut page)) = state else { return Ok(None) };
        match pieces.try_next().await? {
            Some(piece) => {
                let out = page.push(&piece)?;
                Ok(Some((out, Some((pieces, page)))))
            }
            None => Ok(Some((page.finish()?, None))),
        }
    }))
}

/// Unpacks, rewrites and packs.
enum Page {
    Plain(Rewriter<Vec<u8>>),
    Gzip(GzDecoder<Rewriter<GzEncoder<Vec<u8>>>>),
    Deflate(DeflateDecoder<Rewriter<DeflateEncoder<Vec<u8>>>>),
}

impl Page {
    fn new(encoding: Encoding, links: Links) -> Self {
        let level = Compression::fast();
        match encoding {
            Encoding::Plain => Self::Plain(Rewriter::new(Vec::new(), links)),
            Encoding::Gzip => Self::Gzip(GzDecoder::new(Rewriter::new(GzEncoder::new(Vec::new(), level), links))),
            Encoding::Deflate => {
                Self::Deflate(DeflateDecoder::new(Rewriter::new(DeflateEncoder::new(Vec::new(), level), links)))
            }
        }
    }

    /// Takes a piece and gives what is ready.
    fn push(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let out = match self {
            Self::Plain(page) => {
                page.write_all(piece)?;
                &mut page.out
            }
            Self::Gzip(page) => {
                page.write_all(piece)?;
                page.get_mut().out.get_mut()
            }
            Self::Deflate(page) => {
                page.write_all(piece)?;
                page.get_mut().out.get_mut()
            }
        };
        Ok(std::mem::take(out).into())
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Plain(page) => page.finish()?.into(),
            Self::Gzip(page) => page.finish()?.finish()?.finish()?.into(),
            Self::Deflate(page) => page.finish()?.finish()?.finish()?.into(),
        })
    }
}

/// A tag that is longer than this is none.
const LONGEST_TAG: usize = 64 * 1024;
/// Elements whose content is text up to their end tag.
const RAW: [&str; 6] = ["script", "style", "textarea", "title", "xmp", "iframe"];

/// Attributes that hold URLs, by element.
const ATTRIBUTES: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

struct Rewriter<W> {
    out: W,
    links: Links,
    /// What was not written yet: the beginning of a tag or comment.
    rest: Vec<u8>,
    /// Inside of an element whose content is text.
    raw: Option<&'static str>,
}

impl<W: Write> Write for Rewriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(data);
        self.advance()?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Rewriter<W> {
    fn new(out: W, links: Links) -> Self {
        Self { out, links, rest: Vec::new(), raw: None }
    }

    fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&self.rest)?;
        Ok(self.out)
    }

    /// Writes everything up to a tag that is not complete.
    fn advance(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.rest);
        let mut at = 0;
        while let Some(found) = rest[at..].iter().position(|byte| *byte == b'<') {
            self.out.write_all(&rest[at..at + found])?;
            at += found;
            let Some(length) = length(&rest[at..]) else {
                if rest.len() - at < LONGEST_TAG {
                    self.rest = rest[at..].to_vec();
                    return Ok(());
                }
                break;
            };
            self.markup(&rest[at..at + length])?;
            at += length;
        }
        self.out.write_all(&rest[at..])
    }

    /// A comment, an end tag, or a start tag; or a `<` that is text.
    fn markup(&mut self, markup: &[u8]) -> io::Result<()> {
        let name = |from: usize| {
            let bytes = markup.get(from..).unwrap_or_default();
            let end = bytes.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase()
        };
        if let Some(raw) = self.raw {
            if markup.get(1) == Some(&b'/') && name(2) == raw {
                self.raw = None;
            }
            return self.out.write_all(markup);
        }
        let element = name(1);
        self.raw = RAW.into_iter().find(|raw| *raw == element);
        match ATTRIBUTES.iter().find(|(known, _)| *known == element) {
            Some((_, attributes)) => self.tag(markup, 1 + element.len(), attributes),
            None => self.out.write_all(markup),
        }
    }

    fn tag(&mut self, tag: &[u8], mut at: usize, attributes: &[&str]) -> io::Result<()> {
        let mut written = 0;
        while let Some(attribute) = next_attribute(tag, at) {
            at = attribute.value.1.max(attribute.name.1);
            let name = String::from_utf8_lossy(&tag[attribute.name.0..attribute.name.1]).to_ascii_lowercase();
            let (begin, end) = attribute.value;
            if begin < end
                && attributes.contains(&name.as_str())
                && let Ok(link) = std::str::from_utf8(&tag[begin..end])
            {
                self.out.write_all(&tag[written..begin])?;
                self.out.write_all(self.links.rewrite(link).as_bytes())?;
                written = end;
            }
        }
        self.out.write_all(&tag[written..])
    }
}

/// How long the markup is that `text` begins with; `None` while its end is not there.
fn length(text: &[u8]) -> Option<usize> {
    if text.starts_with(b"<!--") {
        return text[4..].windows(3).position(|window| window == b"-->").map(|at| at + 7);
    }
    match text.get(1)? {
        byte if byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?') => {}
        _ => return Some(1),
    }
    let mut quote = None;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match (quote, byte) {
            (None, b'>') => return Some(at + 1),
            // A quote begins a value only behind its equals sign.
            (None, b'"' | b'\'') if text[at - 1] == b'=' => quote = Some(*byte),
            (Some(open), byte) if open == *byte => quote = None,
            _ => {}
        }
    }
    None
}

/// Where an attribute's name and value are.
struct Attribute {
    name: (usize, usize),
    value: (usize, usize),
}

fn next_attribute(tag: &[u8], from: usize) -> Option<Attribute> {
    let until = |from: usize, stop: &dyn Fn(u8) -> bool| {
        tag[from..].iter().position(|byte| stop(*byte)).map_or(tag.len(), |at| from + at)
    };
    let begin = until(from, &|byte| !(byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'/')));
    if begin >= tag.len() || tag[begin] == b'>' {
        return None;
    }
    let end = until(begin + 1, &|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/'));
    let name = (begin, end);
    let equals = until(end, &|byte| !byte.is_ascii_whitespace());
    if tag.get(equals) != Some(&b'=') {
        return Some(Attribute { name, value: (end, end) });
    }
    let first = until(equals + 1, &|byte| !byte.is_ascii_whitespace());
    let value = match tag.get(first) {
        Some(quote @ (b'"' | b'\'')) => (first + 1, until(first + 1, &|byte| byte == *quote)),
        _ => (first, until(first, &|byte| byte.is_ascii_whitespace() || byte == b'>')),
    };
    Some(Attribute { name, value })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const PAGE: &str = r#"<!DOCTYPE html><A class=x HREF="/a">1 < 2</a><!-- <a href="/c"> --><img src=/i.png alt='<a href="/no">'>
<script src='/s.js'>x = '<a href="/no">';</script><link href=style.css><a data-href="/no" href = '/b?c=d&amp;e'><p href="/no">"#;
    const REWRITTEN: &str = r#"<!DOCTYPE html><A class=x HREF="/p/a">1 < 2</a><!-- <a href="/c"> --><img src=/p/i.png alt='<a href="/no">'>
<script src='/p/s.js'>x = '<a href="/no">';</script><link href=style.css><a data-href="/no" href = '/p/b?c=d&amp;e'><p href="/no">"#;

    fn links() -> Links {
        Links::of("/p", ["", ""])
    }

    #[test]
    fn links_are_rewritten_however_the_page_is_cut() {
        for size in 1..PAGE.len() {
            let mut page = Page::new(Encoding::Plain, links());
            let mut out = Vec::new();
            for piece in PAGE.as_bytes().chunks(size) {
                out.extend_from_slice(&page.push(piece).unwrap());
            }
            out.extend_from_slice(&page.finish().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), REWRITTEN, "in pieces of {size}");
        }
    }

    #[test]
    fn a_packed_page_is_packed_again() {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(PAGE.as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        let mut page = Page::new(Encoding::Gzip, links());
        let mut out = Vec::new();
        for piece in packed.chunks(7) {
            out.extend_from_slice(&page.push(piece).unwrap());
        }
        out.extend_from_slice(&page.finish().unwrap());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&out[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, REWRITTEN);
    }

    #[test]
    fn what_never_closes_is_passed_on() {
        let mut page = Page::new(Encoding::Plain, links());
        let text = format!("<a href=\"{}", "x".repeat(LONGEST_TAG));
        let mut out = page.push(text.as_bytes()).unwrap().to_vec();
        out.extend_from_slice(&page.finish().unwrap());
        assert!(out == text.as_bytes());
    }
}
