//! The wire format of protobuf: tags, numbers and lengths, and what may be wrong with them. Knows no message.

/// What is wrong with the bytes, in the words of upstream's generated decoders.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("unexpected EOF")]
    Eof,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: negative length found during unmarshaling")]
    NegativeLength,
    #[error("proto: {0}: wiretype end group for non-group")]
    NotAGroup(&'static str),
    #[error("proto: {message}: illegal tag {number} (wire type {wire})")]
    Tag { message: &'static str, number: i32, wire: u64 },
    #[error("proto: illegal wireType {0}")]
    WireType(u8),
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WrongWireType { wire: u8, field: String },
    #[error("proto: messages are nested too deeply")]
    Depth,
    #[error("proto: the object is too large")]
    Size,
    #[error("Time.MarshalJSON: year outside of range [0,9999]")]
    Year,
    #[error("impossible IntOrString.Type")]
    IntOrString,
    #[error("json: unsupported value: {0}")]
    Number(f64),
    #[error("embedded object: {0}")]
    Embedded(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// A group or a fixed32, which no message of ours has.
    Skipped(u8),
}

impl<'a> Wire<'a> {
    fn wrong(self, field: &str) -> Malformed {
        let wire = match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Skipped(wire) => wire,
        };
        // Go's fields begin with a capital and are else named as in JSON.
        let mut name = field.to_owned();
        name.get_mut(..1).map(str::make_ascii_uppercase);
        Malformed::WrongWireType { wire, field: name }
    }

    pub fn varint(self, field: &str) -> Result<u64, Malformed> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(self.wrong(field)) }
    }

    pub fn fixed64(self, field: &str) -> Result<u64, Malformed> {
        if let Self::Fixed64(value) = self { Ok(value) } else { Err(self.wrong(field)) }
    }

    pub fn bytes(self, field: &str) -> Result<&'a [u8], Malformed> {
        if let Self::Bytes(value) = self { Ok(value) } else { Err(self.wrong(field)) }
    }
}

/// Reads a message field by field.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's number and value; `message` is whose field it is.
    pub fn field(&mut self, message: &'static str) -> Result<Option<(u32, Wire<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = (tag & 7) as u8;
        if wire == 4 {
            return Err(Malformed::NotAGroup(message));
        }
        // Upstream keeps the lower 32 bits.
        let number = (tag >> 3) as i32;
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Some((number, self.value(wire)?))),
            _ => Err(Malformed::Tag { message, number, wire: tag }),
        }
    }

    /// A number of up to 64 bits; bits beyond are dropped.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(Malformed::Eof)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Overflow)
    }

    pub fn fixed64(&mut self) -> Result<u64, Malformed> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(Malformed::Eof)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*value))
    }

    fn value(&mut self, wire: u8) -> Result<Wire<'a>, Malformed> {
        Ok(match wire {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.fixed64()?),
            2 => Wire::Bytes(self.bytes()?),
            3 => {
                self.group()?;
                Wire::Skipped(wire)
            }
            5 => {
                self.take(4)?;
                Wire::Skipped(wire)
            }
            _ => return Err(Malformed::WireType(wire)),
        })
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()? as i64;
        let length = usize::try_from(length).map_err(|_| Malformed::NegativeLength)?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Eof)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Skips the rest of a group, with the groups in it.
    fn group(&mut self) -> Result<(), Malformed> {
        let mut depth = 1_usize;
        while depth > 0 {
            match (self.varint()? & 7) as u8 {
                3 => depth += 1,
                4 => depth -= 1,
                wire => drop(self.value(wire)?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &[u8]) -> Result<Vec<(u32, Wire<'_>)>, String> {
        let mut reader = Reader::new(data);
        let mut found = Vec::new();
        while let Some(field) = reader.field("Pod").map_err(|error| error.to_string())? {
            found.push(field);
        }
        Ok(found)
    }

    #[test]
    fn fields_of_every_wire_type() {
        let data = [8, 0xac, 2, 0x12, 2, b'h', b'i', 0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x25, 1, 2, 3, 4];
        let expected = [(1, Wire::Varint(300)), (2, Wire::Bytes(b"hi")), (3, Wire::Fixed64(1)), (4, Wire::Skipped(5))];
        assert_eq!(read(&data).unwrap(), expected);
        // A group of field 1 that holds a number and another group.
        assert_eq!(read(&[0x0b, 8, 1, 0x13, 0x14, 0x0c, 8, 7]).unwrap(), [(1, Wire::Skipped(3)), (1, Wire::Varint(7))]);
        assert_eq!(
            read(&[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).unwrap(),
            [(1, Wire::Varint(u64::MAX))]
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_upstreams_words() {
        let cases: [(&[u8], &str); 10] = [
            (&[8], "unexpected EOF"),
            (&[0x12, 3, b'h'], "unexpected EOF"),
            (&[0x19, 1], "unexpected EOF"),
            (&[0x0b, 8, 1], "unexpected EOF"),
            (&[0xff; 11], "proto: integer overflow"),
            (
                &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                "proto: negative length found during unmarshaling",
            ),
            (&[0x0c], "proto: Pod: wiretype end group for non-group"),
            (&[0], "proto: Pod: illegal tag 0 (wire type 0)"),
            (&[0x80, 0x80, 0x80, 0x80, 0x40], "proto: Pod: illegal tag -2147483648 (wire type 17179869184)"),
            (&[0x0e], "proto: illegal wireType 6"),
        ];
        for (data, expected) in cases {
            assert_eq!(read(data).unwrap_err(), expected, "{data:?}");
        }
        let wrong = Wire::Varint(1).bytes("metadata").unwrap_err().to_string();
        assert_eq!(wrong, "proto: wrong wireType = 0 for field Metadata");
    }
}
