//! The built-in types, read from `table.txt` (written by `scripts/schema-table.py`).
//!
//! One line is one type: `Name@group/version/Kind! field:type~strategy/mergeKey=default …`, where `@…` is there for
//! kinds only, `!` marks an atomic struct, and the last three are there where they apply. A type is `s` string,
//! `n` number, `b` boolean, `x` string or number, `?` anything, `#7` the type on line 7 (counted from 0; `A` after it
//! where the field makes it atomic), `{T}` a map (`A` where atomic), `[T]` a list, followed by `S` for a set and by
//! `M(key,key)` for a map. A line is parsed when it is first asked for and kept.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

use super::{Field, List, ListKind, Map, PatchStrategy, Scalar, Struct, Type};

static TEXT: &str = include_str!("table.txt");

struct Table {
    lines: Vec<(&'static str, OnceLock<Type>)>,
    kinds: HashMap<&'static str, u16>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let lines: Vec<_> = TEXT.lines().map(|line| (line, OnceLock::new())).collect();
    let kinds = (0u16..).zip(&lines).filter_map(|(id, (line, _))| Some((kind_of(line)?, id)));
    Table { kinds: kinds.collect(), lines }
});

/// The `group/version/Kind` of a line.
fn kind_of(line: &'static str) -> Option<&'static str> {
    let head = line.split(' ').next()?;
    Some(head.split_once('@')?.1.trim_end_matches('!'))
}

pub fn kind(group: &str, version: &str, kind: &str) -> Option<&'static Type> {
    let id = TABLE.kinds.get(format!("{group}/{version}/{kind}").as_str())?;
    Some(get(*id))
}

/// The type on line `id`. The table is part of the executable and a test parses all of it, so a line
/// that cannot be read does not happen; it would be untyped.
pub fn get(id: u16) -> &'static Type {
    static UNTYPED: Type = Type::Untyped;
    match TABLE.lines.get(usize::from(id)) {
        Some((line, parsed)) => parsed.get_or_init(|| parse(line).unwrap_or(Type::Untyped)),
        None => &UNTYPED,
    }
}

fn parse(line: &'static str) -> Option<Type> {
    let mut words = line.split(' ');
    let head = words.next()?;
    let atomic = head.ends_with('!');
    let name = head.trim_end_matches('!').split('@').next()?;
    let fields = words.map(field).collect::<Option<Vec<_>>>()?;
    Some(Type::Struct(Struct { name: name.into(), atomic, fields, others: None }))
}

fn field(word: &'static str) -> Option<Field> {
    let (name, rest) = word.split_once(':')?;
    let (kind, rest) = shape(rest)?;
    let (rest, default) = match rest.split_once('=') {
        Some((rest, default)) => (rest, Some(Box::new(Value::from(default)))),
        None => (rest, None),
    };
    let (strategies, merge_key) = match rest.split_once('/') {
        Some((strategies, key)) => (strategies, Some(key.into())),
        None => (rest, None),
    };
    let mut patch = PatchStrategy { merge_key, ..PatchStrategy::default() };
    for strategy in strategies.strip_prefix('~').unwrap_or(strategies).split(',') {
        match strategy {
            "merge" => patch.merge = true,
            "replace" => patch.replace = true,
            "retainKeys" => patch.retain_keys = true,
            "" => {}
            _ => return None,
        }
    }
    Some(Field { name: name.into(), kind, patch, default })
}

/// Reads one type from the start of `text`; gives it and the rest.
fn shape(text: &'static str) -> Option<(Type, &'static str)> {
    let rest = text.get(1..)?;
    Some(match text.as_bytes()[0] {
        b's' => (Type::Scalar(Scalar::String), rest),
        b'n' => (Type::Scalar(Scalar::Number), rest),
        b'b' => (Type::Scalar(Scalar::Boolean), rest),
        b'x' => (Type::Scalar(Scalar::Mixed), rest),
        b'?' => (Type::Untyped, rest),
        b'#' => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (atomic, after) = atomic_mark(&rest[end..]);
            (Type::Ref { id: rest[..end].parse().ok()?, atomic }, after)
        }
        b'{' => {
            let (values, rest) = shape(rest)?;
            let (atomic, after) = atomic_mark(rest.strip_prefix('}')?);
            (Type::Map(Map { values: Box::new(values), atomic }), after)
        }
        b'[' => {
            let (items, rest) = shape(rest)?;
            let (kind, after) = list_kind(rest.strip_prefix(']')?)?;
            (Type::List(List { items: Box::new(items), kind }), after)
        }
        _ => return None,
    })
}

fn atomic_mark(text: &'static str) -> (bool, &'static str) {
    match text.strip_prefix('A') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn list_kind(text: &'static str) -> Option<(ListKind, &'static str)> {
    if let Some(rest) = text.strip_prefix('S') {
        return Some((ListKind::Set, rest));
    }
    match text.strip_prefix("M(") {
        Some(rest) => {
            let (keys, after) = rest.split_once(')')?;
            Some((ListKind::Map(keys.split(',').map(Into::into).collect()), after))
        }
        None => Some((ListKind::Atomic, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_parses_and_every_reference_leads_somewhere() {
        fn check(kind: &Type, count: usize) {
            match kind {
                Type::Ref { id, .. } => assert!(usize::from(*id) < count),
                Type::List(list) => check(&list.items, count),
                Type::Map(map) => check(&map.values, count),
                _ => {}
            }
        }
        let count = TEXT.lines().count();
        for line in TEXT.lines() {
            let Some(Type::Struct(shape)) = parse(line) else { panic!("{line}") };
            assert!(shape.fields.is_sorted_by(|a, b| a.name < b.name), "{line}");
            shape.fields.iter().for_each(|field| check(&field.kind, count));
        }
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        assert!(TABLE.kinds.len() > 80);
        for (name, id) in &TABLE.kinds {
            let parts: Vec<_> = name.split('/').collect();
            assert!(std::ptr::eq(kind(parts[0], parts[1], parts[2]).unwrap(), get(*id)));
        }
    }
}
