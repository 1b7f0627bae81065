//! SPDY/3.1 frames to bytes and back (draft-mbelshe-httpbis-spdy-00 with 3.1's numbers). Pure; header blocks stay compressed.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// A frame, either way. What has no meaning here (SETTINGS, WINDOW_UPDATE, …) is [`Frame::Other`].
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream { id: u32, fin: bool, block: Bytes },
    SynReply { id: u32, block: Bytes },
    Reset { id: u32, status: u32 },
    Ping(u32),
    GoAway { last: u32 },
    Headers { id: u32, fin: bool, block: Bytes },
    Data { id: u32, fin: bool, data: Bytes },
    Other,
}

/// What cannot be read; the connection is of no use any more.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    #[error("SPDY version {0} is not spoken")]
    Version(u16),
    #[error("a control frame is too short")]
    Short,
}

/// Statuses of RST_STREAM.
pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 3;
pub const CANCEL: u32 = 5;

/// Far above what clients send at once (32 KiB), far below what would hurt.
const LONGEST: usize = 1 << 20;
const HEAD: usize = 8;
const CONTROL: u16 = 0x8000;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const ID: u32 = 0x7fff_ffff;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

impl Frame {
    /// Takes the first frame out of `buffer` if it is all there.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, Malformed> {
        let Some(head) = buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let [a, b, c, d, flags, lengths @ ..] = *head;
        let length = usize::from(lengths[0]) << 16 | usize::from(lengths[1]) << 8 | usize::from(lengths[2]);
        if length > LONGEST {
            return Err(Malformed::TooLong(length));
        }
        if buffer.len() < HEAD + length {
            return Ok(None);
        }
        buffer.advance(HEAD);
        let body = buffer.split_to(length).freeze();
        let first = u16::from_be_bytes([a, b]);
        let fin = flags & FIN != 0;
        if first & CONTROL == 0 {
            let id = u32::from_be_bytes([a, b, c, d]);
            return Ok(Some(Self::Data { id, fin, data: body }));
        }
        match first & !CONTROL {
            VERSION => Self::control(u16::from_be_bytes([c, d]), fin, body).map(Some),
            other => Err(Malformed::Version(other)),
        }
    }

    fn control(kind: u16, fin: bool, mut body: Bytes) -> Result<Self, Malformed> {
        let mut number = || body.try_get_u32().map_err(|_| Malformed::Short);
        Ok(match kind {
            SYN_STREAM => {
                let id = number()? & ID;
                // The associated stream, priority and credential slot mean nothing here.
                number()?;
                if body.try_get_u16().is_err() {
                    return Err(Malformed::Short);
                }
                Self::SynStream { id, fin, block: body }
            }
            SYN_REPLY => Self::SynReply { id: number()? & ID, block: body },
            RST_STREAM => Self::Reset { id: number()? & ID, status: number()? },
            PING => Self::Ping(number()?),
            GOAWAY => Self::GoAway { last: number()? & ID },
            HEADERS => Self::Headers { id: number()? & ID, fin, block: body },
            _ => Self::Other,
        })
    }

    pub fn put(&self, out: &mut BytesMut) {
        match self {
            Self::SynStream { id, fin, block } => {
                head(out, SYN_STREAM, *fin, 10 + block.len());
                out.put_u32(*id);
                out.put_u32(0);
                out.put_u16(0);
                out.put_slice(block);
            }
            Self::SynReply { id, block } => numbered(out, SYN_REPLY, false, *id, block),
            Self::Headers { id, fin, block } => numbered(out, HEADERS, *fin, *id, block),
            Self::Reset { id, status } => numbered(out, RST_STREAM, false, *id, &status.to_be_bytes()),
            Self::Ping(id) => numbered(out, PING, false, *id, &[]),
            Self::GoAway { last } => numbered(out, GOAWAY, false, *last, &0_u32.to_be_bytes()),
            Self::Data { id, fin, data } => {
                out.put_u32(*id);
                flags_and_length(out, *fin, data.len());
                out.put_slice(data);
            }
            Self::Other => {}
        }
    }
}

fn numbered(out: &mut BytesMut, kind: u16, fin: bool, number: u32, rest: &[u8]) {
    head(out, kind, fin, 4 + rest.len());
    out.put_u32(number);
    out.put_slice(rest);
}

fn head(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(CONTROL | VERSION);
    out.put_u16(kind);
    flags_and_length(out, fin, length);
}

fn flags_and_length(out: &mut BytesMut, fin: bool, length: usize) {
    debug_assert!(length <= LONGEST, "our own frames are short");
    out.put_u32(u32::from(fin) << 24 | length as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let block = Bytes::from_static(b"block");
        let frames = [
            Frame::SynStream { id: 1, fin: false, block: block.clone() },
            Frame::SynReply { id: 1, block: block.clone() },
            Frame::Reset { id: 3, status: CANCEL },
            Frame::Ping(9),
            Frame::GoAway { last: 5 },
            Frame::Headers { id: 1, fin: true, block },
            Frame::Data { id: 1, fin: true, data: Bytes::from_static(b"hello") },
        ];
        let mut bytes = BytesMut::new();
        frames.iter().for_each(|frame| frame.put(&mut bytes));
        let mut arriving = BytesMut::new();
        let mut seen = Vec::new();
        // However the bytes are cut.
        for byte in bytes {
            arriving.put_u8(byte);
            seen.extend(Frame::take(&mut arriving).unwrap());
        }
        assert_eq!(seen, frames);
    }

    #[test]
    fn strangers_are_refused() {
        let take = |bytes: &[u8]| Frame::take(&mut BytesMut::from(bytes));
        assert_eq!(take(b"\x80\x02\x00\x01\x00\x00\x00\x00"), Err(Malformed::Version(2)));
        assert_eq!(take(b"\x00\x00\x00\x01\x00\xff\xff\xff"), Err(Malformed::TooLong(0xff_ffff)));
        assert_eq!(take(b"\x80\x03\x00\x06\x00\x00\x00\x02ab"), Err(Malformed::Short));
        assert_eq!(take(b"\x80\x03\x00\x04\x00\x00\x00\x00"), Ok(Some(Frame::Other)));
    }
}
