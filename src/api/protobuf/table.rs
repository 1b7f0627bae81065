//! The messages, read from `table.txt` (written by `scripts/protobuf-table.py`). Knows no bytes of any request.
//!
//! One line is one message: `Name%form@group/version/Kind number=name:type …`, where `%…` is there for messages that
//! JSON writes in a form of its own and `@…` for kinds. No name means that the message's fields are its parent's in
//! JSON. A type is `s` string, `b` bool, `i` int32, `l` int64, `d` double, `y` bytes, `r` bytes that are JSON, `#7` the
//! message on line 7 (counted from 0), `[T]` repeated, `{T}` a map from strings; `?` after it: zero is left out of
//! JSON. A line is parsed when it is first asked for and kept.

use std::sync::{LazyLock, OnceLock};

pub static TEXT: &str = include_str!("table.txt");

#[derive(Debug)]
pub struct Message {
    /// As Go calls it; only errors use it.
    pub name: &'static str,
    pub form: Form,
    /// Sorted by number.
    fields: Vec<Field>,
}

/// How JSON writes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with a key for each field.
    Plain,
    /// RFC 3339, in seconds.
    Time,
    /// RFC 3339, in microseconds.
    MicroTime,
    /// The JSON in its only field.
    Raw,
    /// The list in its only field.
    List,
    /// Whichever of its fields is there: a list, an object, or a boolean.
    Or,
    Quantity,
    IntOrString,
}

#[derive(Debug)]
pub struct Field {
    pub number: u32,
    /// In JSON; empty where the message's fields are the parent's.
    pub name: &'static str,
    pub kind: Kind,
    pub shape: Shape,
    pub omit_zero: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    Repeated,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Bytes,
    Json,
    /// A line of the table.
    Message(u16),
}

static LINES: LazyLock<Vec<(&'static str, OnceLock<Message>)>> =
    LazyLock::new(|| TEXT.lines().map(|line| (line, OnceLock::new())).collect());

/// The message of a kind. `DeleteOptions` belong to every version of every group.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Message> {
    let is = |line: &str| {
        let head = line.split(' ').next().unwrap_or_default();
        let mut named = head.split_once('@').map(|(_, named)| named).unwrap_or_default().splitn(3, '/');
        let mut next = |wanted: &str| named.next().is_some_and(|part| part == "*" || part == wanted);
        next(group) && next(version) && next(kind)
    };
    let id = LINES.iter().position(|(line, _)| is(line))?;
    Some(get(u16::try_from(id).ok()?))
}

/// The message on line `id`. The table is part of the executable and a test parses all of it, so a line
/// that cannot be read does not happen; it would have no fields.
pub fn get(id: u16) -> &'static Message {
    static NOTHING: Message = Message { name: "", form: Form::Plain, fields: Vec::new() };
    match LINES.get(usize::from(id)) {
        Some((line, parsed)) => {
            parsed.get_or_init(|| parse(line).unwrap_or(Message { name: "", form: Form::Plain, fields: Vec::new() }))
        }
        None => &NOTHING,
    }
}

impl Message {
    pub fn field(&self, number: u32) -> Option<&Field> {
        let at = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(at)
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}

fn parse(line: &'static str) -> Option<Message> {
    let mut words = line.split(' ');
    let head = words.next()?.split('@').next()?;
    let (name, form) = head.split_once('%').unwrap_or((head, ""));
    let form = match form {
        "" => Form::Plain,
        "time" => Form::Time,
        "microtime" => Form::MicroTime,
        "raw" => Form::Raw,
        "list" => Form::List,
        "or" => Form::Or,
        "quantity" => Form::Quantity,
        "intorstring" => Form::IntOrString,
        _ => return None,
    };
    Some(Message { name, form, fields: words.map(field).collect::<Option<Vec<_>>>()? })
}

fn field(word: &'static str) -> Option<Field> {
    let (number, rest) = word.split_once('=')?;
    let (name, code) = rest.split_once(':')?;
    let (code, omit_zero) = code.strip_suffix('?').map_or((code, false), |code| (code, true));
    let (code, shape) = match code.as_bytes().first()? {
        b'[' => (code.strip_prefix('[')?.strip_suffix(']')?, Shape::Repeated),
        b'{' => (code.strip_prefix('{')?.strip_suffix('}')?, Shape::Map),
        _ => (code, Shape::One),
    };
    let kind = match code {
        "s" => Kind::String,
        "b" => Kind::Bool,
        "i" => Kind::Int32,
        "l" => Kind::Int64,
        "d" => Kind::Double,
        "y" => Kind::Bytes,
        "r" => Kind::Json,
        message => Kind::Message(message.strip_prefix('#')?.parse().ok()?),
    };
    Some(Field { number: number.parse().ok()?, name, kind, shape, omit_zero })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::schema::{self, Type, View};

    #[test]
    fn every_line_parses_and_every_reference_leads_somewhere() {
        let count = TEXT.lines().count();
        for line in TEXT.lines() {
            let message = parse(line).unwrap_or_else(|| panic!("{line}"));
            assert!(message.fields.is_sorted_by(|a, b| a.number < b.number), "{line}");
            for field in &message.fields {
                assert!(!matches!(field.kind, Kind::Message(id) if usize::from(id) >= count), "{line}");
                assert!(!field.name.is_empty() || matches!(field.kind, Kind::Message(_)), "{line}");
            }
        }
    }

    /// The JSON names of a message and what they lead to, those of nameless messages among them.
    fn names(message: &'static Message) -> Vec<&'static Field> {
        let inner = |field: &'static Field| match field.kind {
            Kind::Message(id) if field.name.is_empty() => names(get(id)),
            _ => vec![field],
        };
        message.fields.iter().flat_map(inner).collect()
    }

    fn compare(message: &'static Message, kind: &Type, seen: &mut BTreeSet<&'static str>) {
        let View::Struct { shape, .. } = kind.view() else { return };
        if message.form != Form::Plain || !seen.insert(message.name) {
            return;
        }
        let fields = names(message);
        let ours: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
        let theirs: BTreeSet<&str> = shape
            .fields
            .iter()
            .map(|field| field.name.as_ref())
            .filter(|name| ours.contains(name) || !is_type(name))
            .collect();
        assert_eq!(ours, theirs, "{}", message.name);
        for field in fields {
            let (Kind::Message(id), Some(found)) = (field.kind, shape.field(field.name)) else { continue };
            let found = match (field.shape, found.kind.view()) {
                (Shape::Repeated, View::List(list)) => &list.items,
                (Shape::Map, View::Map { values, .. }) => values,
                (Shape::One, _) => &found.kind,
                _ => panic!("{}.{} is not a {:?}", message.name, field.name, field.shape),
            };
            compare(get(id), found, seen);
        }
    }

    fn is_type(name: &str) -> bool {
        matches!(name, "apiVersion" | "kind")
    }

    #[test]
    fn messages_have_the_fields_that_the_json_types_have() {
        let mut compared = 0;
        for line in TEXT.lines() {
            let Some((_, named)) = line.split(' ').next().and_then(|head| head.split_once('@')) else { continue };
            let [group, version, name] = *named.split('/').collect::<Vec<_>>() else { panic!("{line}") };
            let message = kind(group, version, name).unwrap();
            let Some(found) = schema::for_kind(group, version, name) else { continue };
            compare(message, found, &mut BTreeSet::new());
            compared += 1;
        }
        assert!(compared > 50, "{compared}");
    }
}
