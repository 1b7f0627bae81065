//! From messages to JSON text, by the table. Writes as it reads: no value is built, and what is written is
//! bounded, so a small body cannot become a large object.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;

use super::table::{self, Field, Form, Kind, Message, Shape};
use super::wire::{Malformed, Reader, Wire};

/// Messages in messages, as protobuf libraries of the field allow.
const MAX_DEPTH: usize = 100;
/// JSON text, in bytes: four times the largest body of a request.
const MAX_SIZE: usize = 12 * 1024 * 1024;

/// Fields in the order they came, equal numbers together.
type Found<'a> = Vec<(&'static Field, Wire<'a>)>;

#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    depth: usize,
}

/// The object of a kind as JSON text.
pub fn object(message: &'static Message, api_version: &str, kind: &str, data: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut writer = Writer::default();
    writer.object(message, api_version, kind, data)?;
    Ok(writer.out)
}

impl Writer {
    fn object(&mut self, message: &'static Message, version: &str, kind: &str, data: &[u8]) -> Result<(), Malformed> {
        self.out.push(b'{');
        for (name, value) in [("apiVersion", version), ("kind", kind)] {
            self.key(name)?;
            self.string(value)?;
        }
        self.fields(message, data)?;
        self.out.push(b'}');
        Ok(())
    }

    /// The fields of a message, without braces.
    fn fields(&mut self, message: &'static Message, data: &[u8]) -> Result<(), Malformed> {
        if self.depth >= MAX_DEPTH {
            return Err(Malformed::Depth);
        }
        self.depth += 1;
        for same in found(message, data)?.chunk_by(|a, b| a.0.number == b.0.number) {
            if let Some((field, last)) = same.last() {
                self.field(field, same, *last)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(&mut self, field: &Field, same: &[(&Field, Wire)], last: Wire) -> Result<(), Malformed> {
        match (field.shape, field.kind) {
            (Shape::Repeated, _) => {
                self.key(field.name)?;
                self.list(field, same)
            }
            (Shape::Map, _) => {
                self.key(field.name)?;
                self.map(field, same)
            }
            (Shape::One, Kind::Message(id)) => {
                let message = table::get(id);
                let mut data = last.bytes(field.name)?;
                // A message in pieces is the message of all its pieces.
                let whole;
                if same.len() > 1 && message.form == Form::Plain {
                    let pieces = same.iter().map(|(_, piece)| piece.bytes(field.name));
                    whole = pieces.collect::<Result<Vec<_>, _>>()?.concat();
                    data = &whole;
                }
                if field.name.is_empty() {
                    return self.fields(message, data);
                }
                let before = self.out.len();
                self.key(field.name)?;
                let start = self.out.len();
                self.message(message, data)?;
                if &self.out[start..] == b"null" {
                    self.out.truncate(before);
                }
                Ok(())
            }
            (Shape::One, _) if field.omit_zero && is_zero(field.kind, last) => Ok(()),
            (Shape::One, _) => {
                self.key(field.name)?;
                self.scalar(field, last)
            }
        }
    }

    fn list(&mut self, field: &Field, same: &[(&Field, Wire)]) -> Result<(), Malformed> {
        self.out.push(b'[');
        for (_, wire) in same {
            let packed = match (field.kind, wire) {
                (Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Double, Wire::Bytes(packed)) => packed,
                _ => {
                    self.comma(b'[')?;
                    self.value(field, *wire)?;
                    continue;
                }
            };
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                let wire = match field.kind {
                    Kind::Double => Wire::Fixed64(reader.fixed64()?),
                    _ => Wire::Varint(reader.varint()?),
                };
                self.comma(b'[')?;
                self.scalar(field, wire)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Entries are messages of a key and a value; the last one of a key counts.
    fn map(&mut self, field: &Field, same: &[(&Field, Wire)]) -> Result<(), Malformed> {
        let empty = match field.kind {
            Kind::String | Kind::Bytes | Kind::Json | Kind::Message(_) => Wire::Bytes(&[]),
            Kind::Double => Wire::Fixed64(0),
            Kind::Bool | Kind::Int32 | Kind::Int64 => Wire::Varint(0),
        };
        let mut entries = BTreeMap::new();
        for (_, wire) in same {
            let mut reader = Reader::new(wire.bytes(field.name)?);
            let (mut key, mut value) = (&[][..], empty);
            while let Some((number, wire)) = reader.field("MapEntry")? {
                match number {
                    1 => key = wire.bytes(field.name)?,
                    2 => value = wire,
                    _ => {}
                }
            }
            entries.insert(String::from_utf8_lossy(key), value);
        }
        self.out.push(b'{');
        for (key, value) in entries {
            self.key(&key)?;
            self.value(field, value)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn value(&mut self, field: &Field, wire: Wire) -> Result<(), Malformed> {
        match field.kind {
            Kind::Message(id) => self.message(table::get(id), wire.bytes(field.name)?),
            _ => self.scalar(field, wire),
        }
    }

    fn message(&mut self, message: &'static Message, data: &[u8]) -> Result<(), Malformed> {
        match message.form {
            Form::Plain => {
                self.out.push(b'{');
                self.fields(message, data)?;
                self.out.push(b'}');
            }
            Form::Time | Form::MicroTime => self.time(message, data)?,
            Form::Raw => match found(message, data)?.last() {
                Some((field, wire)) => self.scalar(field, *wire)?,
                None => self.null(),
            },
            Form::List | Form::Or => self.one_of(message, data)?,
            Form::Quantity => match found(message, data)?.last() {
                Some((field, wire)) => self.scalar(field, *wire)?,
                None => self.string("0")?,
            },
            Form::IntOrString => self.int_or_string(message, data)?,
        }
        Ok(())
    }

    /// The list among the fields if it has items, else the message, else the boolean.
    fn one_of(&mut self, message: &'static Message, data: &[u8]) -> Result<(), Malformed> {
        let found = found(message, data)?;
        // No field of these messages comes after the list.
        let items =
            found.iter().position(|(field, _)| field.shape == Shape::Repeated).map_or(&[][..], |at| &found[at..]);
        if let Some((field, _)) = items.first() {
            return self.list(field, items);
        }
        let boolean = message.fields().iter().find(|field| field.kind == Kind::Bool);
        let inner = found.iter().rfind(|(field, _)| matches!(field.kind, Kind::Message(_)));
        match (inner, boolean) {
            // These messages are in one another only through plain ones, which count the depth.
            (Some((field, wire)), _) => self.value(field, *wire),
            (None, Some(field)) => {
                let given = found.iter().rfind(|(found, _)| found.number == field.number);
                self.scalar(field, given.map_or(Wire::Varint(0), |(_, wire)| *wire))
            }
            (None, None) if message.form == Form::List => {
                self.out.extend_from_slice(b"[]");
                Ok(())
            }
            (None, None) => {
                self.null();
                Ok(())
            }
        }
    }

    fn time(&mut self, message: &'static Message, data: &[u8]) -> Result<(), Malformed> {
        /// Go's zero time, which is null in JSON.
        const ZERO: i64 = -62_135_596_800;
        let (mut seconds, mut nanos) = (0, 0);
        for (field, wire) in found(message, data)? {
            let value = wire.varint(field.name)? as i64;
            match field.number {
                1 => seconds = value,
                _ => nanos = i64::from(value as i32),
            }
        }
        let micros = nanos.rem_euclid(1_000_000_000) / 1000;
        if message.form == Form::MicroTime {
            seconds = seconds.saturating_add(nanos.div_euclid(1_000_000_000));
        }
        if data.is_empty() || (seconds == ZERO && (message.form == Form::Time || micros == 0)) {
            self.null();
            return Ok(());
        }
        let text = jiff::Timestamp::from_second(seconds).map_err(|_| Malformed::Year)?.to_string();
        let day = text.strip_suffix('Z').filter(|text| !text.starts_with('-')).ok_or(Malformed::Year)?;
        let fraction = if message.form == Form::MicroTime { format!(".{micros:06}") } else { String::new() };
        self.string(&format!("{day}{fraction}Z"))
    }

    fn int_or_string(&mut self, message: &'static Message, data: &[u8]) -> Result<(), Malformed> {
        let (mut kind, mut number, mut text) = (0, 0, &[][..]);
        for (field, wire) in found(message, data)? {
            match field.number {
                1 => kind = wire.varint(field.name)?,
                2 => number = wire.varint(field.name)? as i32,
                _ => text = wire.bytes(field.name)?,
            }
        }
        match kind {
            0 => self.display(number),
            1 => self.string(&String::from_utf8_lossy(text)),
            _ => Err(Malformed::IntOrString),
        }
    }

    fn scalar(&mut self, field: &Field, wire: Wire) -> Result<(), Malformed> {
        match field.kind {
            Kind::String => self.string(&String::from_utf8_lossy(wire.bytes(field.name)?)),
            Kind::Bytes => self.string(&STANDARD.encode(wire.bytes(field.name)?)),
            Kind::Json => self.json(wire.bytes(field.name)?),
            Kind::Bool => self.display(wire.varint(field.name)? != 0),
            Kind::Int32 => self.display(wire.varint(field.name)? as i32),
            Kind::Int64 => self.display(wire.varint(field.name)? as i64),
            Kind::Double => {
                let value = f64::from_bits(wire.fixed64(field.name)?);
                let value = serde_json::Number::from_f64(value).ok_or(Malformed::Number(value))?;
                self.display(value)
            }
            // Callers write messages by `message`.
            Kind::Message(_) => Ok(()),
        }
    }

    /// Bytes that are JSON, or an object with an envelope of its own.
    fn json(&mut self, data: &[u8]) -> Result<(), Malformed> {
        if data.starts_with(super::MAGIC) {
            if self.depth >= MAX_DEPTH {
                return Err(Malformed::Depth);
            }
            self.depth += 1;
            let inner = super::Envelope::parse(data).map_err(|error| Malformed::Embedded(error.to_string()))?;
            let message =
                inner.message().ok_or_else(|| Malformed::Embedded(super::no_kind(&inner.api_version, &inner.kind)))?;
            self.object(message, &inner.api_version, &inner.kind, inner.raw)?;
            self.depth -= 1;
            return Ok(());
        }
        if data.is_empty() {
            self.null();
            return Ok(());
        }
        let text = std::str::from_utf8(data).map_err(|error| Malformed::Embedded(error.to_string()))?;
        serde_json::from_str::<IgnoredAny>(text)?;
        self.out.extend_from_slice(text.trim_ascii().as_bytes());
        self.bounded()
    }

    fn key(&mut self, name: &str) -> Result<(), Malformed> {
        self.comma(b'{')?;
        self.string(name)?;
        self.out.push(b':');
        Ok(())
    }

    /// A comma, unless `open` was just written.
    fn comma(&mut self, open: u8) -> Result<(), Malformed> {
        if self.out.last() != Some(&open) {
            self.out.push(b',');
        }
        self.bounded()
    }

    fn string(&mut self, text: &str) -> Result<(), Malformed> {
        serde_json::to_writer(&mut self.out, text)?;
        self.bounded()
    }

    fn display(&mut self, value: impl std::fmt::Display) -> Result<(), Malformed> {
        self.out.extend_from_slice(value.to_string().as_bytes());
        self.bounded()
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn bounded(&self) -> Result<(), Malformed> {
        if self.out.len() > MAX_SIZE { Err(Malformed::Size) } else { Ok(()) }
    }
}

/// The fields of a message that the table knows, equal numbers together and otherwise as they came.
fn found<'a>(message: &'static Message, data: &'a [u8]) -> Result<Found<'a>, Malformed> {
    let mut reader = Reader::new(data);
    let mut found = Vec::new();
    while let Some((number, wire)) = reader.field(message.name)? {
        found.extend(message.field(number).map(|field| (field, wire)));
    }
    found.sort_by_key(|(field, _)| field.number);
    Ok(found)
}

fn is_zero(kind: Kind, wire: Wire) -> bool {
    match wire {
        Wire::Varint(value) if kind == Kind::Int32 => value as i32 == 0,
        Wire::Varint(value) => value == 0,
        Wire::Fixed64(bits) => f64::from_bits(bits) == 0.0,
        Wire::Bytes(bytes) => bytes.is_empty(),
        Wire::Skipped(_) => false,
    }
}
