//! Netlink attributes, written and read: length, type and payload, padded to four bytes. Knows no meanings.

/// A buffer that attributes are appended to.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

const NESTED: u16 = 1 << 15;

impl Writer {
    /// Starts with the header that every netfilter message has behind netlink's.
    pub fn netfilter(family: u8, resource: u16) -> Self {
        let mut bytes = vec![family, 0];
        bytes.extend_from_slice(&resource.to_be_bytes());
        Self { bytes }
    }

    /// Starts with the header that every message of a generic family has behind netlink's.
    pub fn generic(command: u8) -> Self {
        Self { bytes: vec![command, 1, 0, 0] }
    }

    pub fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.header(kind, payload.len());
        self.bytes.extend_from_slice(payload);
        self.pad();
        self
    }

    /// Numbers in netfilter's attributes are in network byte order.
    pub fn number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    /// A string with its terminating zero.
    pub fn string(&mut self, kind: u16, text: &str) -> &mut Self {
        self.header(kind, text.len() + 1);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.pad();
        self
    }

    /// Data as nf_tables wraps it: an attribute that holds one of type 1.
    pub fn data(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        self.nest(kind, |inner| {
            inner.bytes(1, payload);
        })
    }

    /// An attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.header(kind | NESTED, 0);
        fill(self);
        // Callers keep what they nest below 64 KiB.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn header(&mut self, kind: u16, payload: usize) {
        let length = u16::try_from(payload + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The attributes in a payload; a truncated tail is dropped.
pub fn read(payload: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let header = rest.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The payload of the first attribute of a type.
pub fn find(payload: &[u8], kind: u16) -> Option<&[u8]> {
    read(payload).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut writer = Writer::default();
        writer.string(1, "abcd").nest(2, |inner| {
            inner.number(3, 0x0102_0304).bytes(4, &[9]);
        });
        let bytes = writer.into_bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(find(&bytes, 1), Some(&b"abcd\0"[..]));
        let inner = find(&bytes, 2).unwrap();
        assert_eq!(read(inner).collect::<Vec<_>>(), [(3, &[1u8, 2, 3, 4][..]), (4, &[9][..])]);
        assert_eq!(find(&bytes[..6], 1), None, "truncated");
    }
}
