//! Formats that are written out with their arguments, as in `'%s is %d'.format([name, 1])`: whether they fit together
//! (cel-go's `ext/formatting.go`).

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::check::Checked;
use super::types::Type;

/// What is wrong, and with which part where that is known.
pub struct Problem {
    pub part: Option<u64>,
    pub message: String,
}

/// What is wrong with these arguments of a format.
pub fn check(format: &str, arguments: &[IdedExpr], checked: &Checked) -> Option<Problem> {
    let (mut left, mut used) = (format, 0);
    while let Some(at) = left.find('%') {
        left = &left[at + 1..];
        if let Some(rest) = left.strip_prefix('%') {
            left = rest;
            continue;
        }
        let whole = |message: String| Some(Problem { part: None, message });
        if left.is_empty() {
            return whole("unexpected end of string".to_owned());
        }
        let Some(argument) = arguments.get(used) else { return whole(format!("index {used} out of range")) };
        used += 1;
        let clause = match precision(left) {
            Ok(rest) => rest,
            Err(why) => {
                return whole(format!("could not parse formatting clause: error while parsing precision: {why}"));
            }
        };
        let letter = clause.chars().next().unwrap_or_default();
        left = &clause[letter.len_utf8().min(clause.len())..];
        match fits(letter, argument, checked) {
            None => {
                return whole(format!(
                    "could not parse formatting clause: unrecognized formatting clause \"{letter}\""
                ));
            }
            Some(Err((part, message))) => {
                return Some(Problem { part: Some(part), message: format!("error during formatting: {message}") });
            }
            Some(Ok(())) => {}
        }
    }
    (arguments.len() > used).then(|| {
        let given = arguments.len();
        let message = format!("too many arguments supplied to string.format (expected {used}, got {given})");
        Problem { part: None, message }
    })
}

/// What comes after `.3`, where there is such a thing.
fn precision(clause: &str) -> Result<&str, String> {
    let Some(rest) = clause.strip_prefix('.') else { return Ok(clause) };
    let Some(end) = rest.find(|letter: char| !letter.is_ascii_digit()) else {
        return Err("could not find end of precision specifier".to_owned());
    };
    let (digits, rest) = rest.split_at(end);
    let why = match digits.parse::<i64>() {
        Ok(_) => return Ok(rest),
        Err(_) if digits.is_empty() => "invalid syntax",
        Err(_) => "value out of range",
    };
    Err(format!("error while converting precision to integer: strconv.Atoi: parsing {digits:?}: {why}"))
}

/// Whether a clause takes an argument; `None` where there is no such clause.
fn fits(letter: char, argument: &IdedExpr, checked: &Checked) -> Option<Result<(), (u64, String)>> {
    let of = |part: &IdedExpr| checked.types.get(&part.id).cloned().unwrap_or(Type::Dyn);
    let number = |of: &Type| matches!(of, Type::Int | Type::Uint);
    let (takes, wanted): (bool, &str) = match (letter, &of(argument)) {
        ('s', _) => {
            let wanted = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps";
            return Some(match unshown(argument, checked) {
                None => Ok(()),
                Some(part) => Err((part.id, format!("{wanted}, was given {}", of(part).name()))),
            });
        }
        ('d', given) => (number(given), "decimal clause can only be used on integers"),
        ('f', given) => {
            (matches!(given, Type::Double | Type::String), "fixed-point clause can only be used on doubles")
        }
        ('e', given) => (matches!(given, Type::Double | Type::String), "scientific clause can only be used on doubles"),
        ('b', given) => (number(given) || *given == Type::Bool, "only integers and bools can be formatted as binary"),
        ('x' | 'X', given) => (
            number(given) || matches!(given, Type::String | Type::Bytes),
            "only integers, byte buffers, and strings can be formatted as hex",
        ),
        ('o', given) => (number(given), "octal clause can only be used on integers"),
        _ => return None,
    };
    Some(match of(argument) {
        Type::Dyn => Ok(()),
        _ if takes => Ok(()),
        given => Err((argument.id, format!("{wanted}, was given {}", given.name()))),
    })
}

/// The part of a value that cannot be shown as a text.
fn unshown<'a>(value: &'a IdedExpr, checked: &Checked) -> Option<&'a IdedExpr> {
    let of = checked.types.get(&value.id).unwrap_or(&Type::Dyn);
    if matches!(of, Type::Any | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Error | Type::Param(_)) {
        return Some(value);
    }
    match &value.expr {
        Expr::List(list) => list.elements.iter().find_map(|element| unshown(element, checked)),
        Expr::Map(map) => map.entries.iter().find_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => unshown(&entry.key, checked).or_else(|| unshown(&entry.value, checked)),
            EntryExpr::StructField(_) => None,
        }),
        _ => None,
    }
}
