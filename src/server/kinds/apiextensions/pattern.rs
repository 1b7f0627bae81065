//! Whether a pattern is a regular expression as Go reads it (RE2's syntax), and Go's words where it is none. Pure; nothing
//! is compiled or matched here.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{Error, ErrorKind};

/// What Go's `regexp.Compile` says of a pattern that it refuses.
pub fn problem(pattern: &str) -> Option<String> {
    let (read, open) = as_rust(pattern);
    let error = Parser::new().parse(&read).err()?;
    let (why, text) = match open.filter(|_| matches!(error.kind(), ErrorKind::ClassUnclosed)) {
        Some(class) => ("missing closing ]", class),
        None => told(pattern, &read, &error),
    };
    Some(format!("error parsing regexp: {why}: `{text}`"))
}

/// The pattern in the syntax of the parser, which knows more in classes than Go (nesting, set operations) and less outside
/// of them: a brace that begins no repetition is a plain letter in Go, and so is everything from `\Q` to `\E`. Also gives
/// the class that the pattern ends in.
fn as_rust(pattern: &str) -> (String, Option<&str>) {
    let mut out = String::with_capacity(pattern.len() + 8);
    let (mut rest, mut begun) = (pattern, pattern);
    let mut class = Class::Outside;
    while let Some(letter) = rest.chars().next() {
        let mut taken = letter.len_utf8();
        match letter {
            '\\' if rest.starts_with("\\Q") => {
                let quoted = &rest[2..];
                let end = quoted.find("\\E").unwrap_or(quoted.len());
                out.push_str(&regex_syntax::escape(&quoted[..end]));
                rest = quoted[end..].strip_prefix("\\E").unwrap_or_default();
                continue;
            }
            '\\' => {
                taken += rest[1..].chars().next().map_or(0, char::len_utf8);
                // The name or number in braces belongs to the escape.
                if matches!(rest.as_bytes().get(1..3), Some([b'p' | b'P' | b'x', b'{'])) {
                    taken += rest[2..].find('}').map_or(0, |end| end + 1);
                }
                out.push_str(&rest[..taken]);
                class.inside();
            }
            '[' if class == Class::Outside => {
                let head = if rest.starts_with("[^") { "[^" } else { "[" };
                (class, taken, begun) = (Class::Begun, head.len(), rest);
                out.push_str(head);
            }
            ']' if class == Class::Inside => {
                class = Class::Outside;
                out.push(letter);
            }
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                taken = rest.find(":]").map_or(taken, |end| end + 2);
                out.push_str(&rest[..taken]);
                class.inside();
            }
            '[' | ']' | '&' | '~' if class != Class::Outside => {
                out.push('\\');
                out.push(letter);
                class.inside();
            }
            '{' if class == Class::Outside && !begins_repetition(rest) => out.push_str("\\{"),
            _ => {
                out.push(letter);
                class.inside();
            }
        }
        rest = &rest[taken..];
    }
    (out, (class != Class::Outside).then_some(begun))
}

/// Where in a character class the reading stands.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Outside,
    /// A bracket that comes first is one of the class's letters.
    Begun,
    Inside,
}

impl Class {
    fn inside(&mut self) {
        if *self == Self::Begun {
            *self = Self::Inside;
        }
    }
}

/// `{2}`, `{2,}`, `{2,3}`.
fn begins_repetition(rest: &str) -> bool {
    let Some((inside, _)) = rest[1..].split_once('}') else { return false };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

/// Go's name of the mistake, and the part of the pattern that it shows.
fn told<'a>(pattern: &'a str, read: &'a str, error: &Error) -> (&'static str, &'a str) {
    let span = error.span();
    let part = read.get(span.start.offset..span.end.offset).unwrap_or_default();
    match error.kind() {
        ErrorKind::GroupUnclosed => ("missing closing )", pattern),
        ErrorKind::GroupUnopened => ("unexpected )", pattern),
        ErrorKind::RepetitionMissing => {
            let operator = read.get(span.start.offset..).unwrap_or_default();
            let end = if operator.starts_with('{') { operator.find('}').map_or(1, |end| end + 1) } else { 1 };
            ("missing argument to repetition operator", operator.get(..end).unwrap_or_default())
        }
        ErrorKind::EscapeUnexpectedEof => ("trailing backslash at end of expression", ""),
        ErrorKind::ClassRangeInvalid | ErrorKind::ClassRangeLiteral => ("invalid character class range", part),
        ErrorKind::RepetitionCountInvalid => ("invalid repeat count", part),
        ErrorKind::GroupNameInvalid | ErrorKind::GroupNameUnexpectedEof | ErrorKind::GroupNameEmpty => {
            ("invalid named capture", part)
        }
        ErrorKind::GroupNameDuplicate { .. } => ("duplicate capture group name", part),
        ErrorKind::FlagUnrecognized | ErrorKind::FlagUnexpectedEof | ErrorKind::UnsupportedLookAround => {
            ("invalid or unsupported Perl syntax", part)
        }
        _ => ("invalid escape sequence", part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads_is_a_pattern() {
        for pattern in [
            "",
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            r"^\d+(\.\d+){2,3}$",
            r"^(?P<name>a|b)(?i:c)$",
            "^[^[]+$",
            "[]a]",
            "[^]a]",
            "[[:alpha:]_]",
            "a{",
            "{}",
            "^{.*}$",
            "a{,5}",
            r"\Qa.b[\E+",
            r"\pL\p{Greek}",
            "[a&&b]",
            r"[\]\\]",
            "[a~~b]",
            "é+",
            r"^\$\{[A-Z_]+\}$",
            r"\x{10FFFF}\x7f",
            "(?s).*",
            "[a-]",
            r"a|",
            "()",
        ] {
            assert_eq!(problem(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn what_is_none_is_told_in_gos_words() {
        for (pattern, why) in [
            ("[a", "missing closing ]: `[a`"),
            ("b[]", "missing closing ]: `[]`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("*a", "missing argument to repetition operator: `*`"),
            (r"a\", r"trailing backslash at end of expression: ``"),
            (r"a\y", r"invalid escape sequence: `\y`"),
            (r"(a)\1", r"invalid escape sequence: `\1`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ] {
            assert_eq!(problem(pattern), Some(format!("error parsing regexp: {why}")), "{pattern}");
        }
    }
}
