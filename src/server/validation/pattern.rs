//! Whether a pattern is a regular expression as Go reads it (RE2's syntax), and Go's words where it is none. Pure; nothing
//! is compiled or matched here.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    self, Ast, ClassSetItem, ClassUnicode, ClassUnicodeKind, Error, ErrorKind, Flag, Flags, FlagsItemKind, GroupKind,
    HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind, RepetitionRange, Span,
};

/// What Go's `regexp.Compile` says of a pattern that it refuses.
pub fn problem(pattern: &str) -> Option<String> {
    let (read, open) = as_rust(pattern);
    let (why, text) = match Parser::new().parse(&read) {
        Ok(tree) => ast::visit(&tree, Stricter { read: &read }).err()?,
        Err(error) => match open.filter(|_| matches!(error.kind(), ErrorKind::ClassUnclosed)) {
            Some(class) => ("missing closing ]", class),
            None => told(pattern, &read, &error),
        },
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

/// What the parser reads and Go does not.
struct Stricter<'a> {
    read: &'a str,
}

type Refused<'a> = (&'static str, &'a str);

/// The most that a repetition may repeat, with those inside of it.
const REPEAT_MAX: u32 = 1000;

impl<'a> Stricter<'a> {
    fn text(&self, start: usize, end: usize) -> &'a str {
        self.read.get(start..end).unwrap_or_default()
    }

    fn of(&self, span: &Span) -> &'a str {
        self.text(span.start.offset, span.end.offset)
    }

    fn flags(&self, group: &Span, flags: &Flags) -> Result<(), Refused<'a>> {
        let unknown = flags.items.iter().find(|item| {
            let known = [Flag::CaseInsensitive, Flag::MultiLine, Flag::DotMatchesNewLine, Flag::SwapGreed];
            matches!(&item.kind, FlagsItemKind::Flag(flag) if !known.contains(flag))
        });
        let text = |item: &ast::FlagsItem| self.text(group.start.offset, item.span.end.offset);
        unknown.map_or(Ok(()), |item| Err(("invalid or unsupported Perl syntax", text(item))))
    }

    fn literal(&self, literal: &Literal) -> Result<(), Refused<'a>> {
        match &literal.kind {
            LiteralKind::HexFixed(HexLiteralKind::X) | LiteralKind::HexBrace(HexLiteralKind::X) => Ok(()),
            LiteralKind::HexFixed(_) | LiteralKind::HexBrace(_) => {
                let start = literal.span.start.offset;
                Err(("invalid escape sequence", self.text(start, start + 2)))
            }
            _ => Ok(()),
        }
    }

    fn class(&self, class: &ClassUnicode) -> Result<(), Refused<'a>> {
        let known = match &class.kind {
            ClassUnicodeKind::NamedValue { .. } => false,
            _ => regex_syntax::parse(self.of(&class.span)).is_ok(),
        };
        if known { Ok(()) } else { Err(("invalid character class range", self.of(&class.span))) }
    }

    fn repetition(&self, it: &Repetition) -> Result<(), Refused<'a>> {
        if let Ast::Repetition(inner) = it.ast.as_ref() {
            let text = self.text(inner.op.span.start.offset, it.op.span.end.offset);
            return Err(("invalid nested repetition operator", text));
        }
        if range(it).is_some_and(|(least, most)| least > REPEAT_MAX || most.is_some_and(|most| most > REPEAT_MAX)) {
            return Err(("invalid repeat count", self.of(&it.op.span).trim_end_matches('?')));
        }
        if repeats(it, REPEAT_MAX) { Ok(()) } else { Err(("invalid repeat count", self.of(&it.op.span))) }
    }
}

impl<'a> ast::Visitor for Stricter<'a> {
    type Output = ();
    type Err = Refused<'a>;

    fn finish(self) -> Result<(), Refused<'a>> {
        Ok(())
    }

    fn visit_post(&mut self, tree: &Ast) -> Result<(), Refused<'a>> {
        match tree {
            Ast::Flags(set) => self.flags(&set.span, &set.flags),
            Ast::Literal(literal) => self.literal(literal),
            Ast::ClassUnicode(class) => self.class(class),
            Ast::Repetition(repetition) => self.repetition(repetition),
            Ast::Group(group) => match &group.kind {
                GroupKind::NonCapturing(flags) => self.flags(&group.span, flags),
                GroupKind::CaptureName { name, .. } => {
                    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                    let text = self.text(group.span.start.offset, name.span.end.offset + 1);
                    if name.name.chars().all(word) { Ok(()) } else { Err(("invalid named capture", text)) }
                }
                GroupKind::CaptureIndex(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_post(&mut self, item: &ClassSetItem) -> Result<(), Refused<'a>> {
        match item {
            ClassSetItem::Literal(literal) => self.literal(literal),
            ClassSetItem::Range(range) => self.literal(&range.start).and_then(|()| self.literal(&range.end)),
            ClassSetItem::Unicode(class) => self.class(class),
            _ => Ok(()),
        }
    }
}

/// The bounds of a repetition in braces.
fn range(it: &Repetition) -> Option<(u32, Option<u32>)> {
    match &it.op.kind {
        RepetitionKind::Range(RepetitionRange::Exactly(count)) => Some((*count, Some(*count))),
        RepetitionKind::Range(RepetitionRange::AtLeast(least)) => Some((*least, None)),
        RepetitionKind::Range(RepetitionRange::Bounded(least, most)) => Some((*least, Some(*most))),
        _ => None,
    }
}

/// Whether what is repeated stays below `left` with all repetitions in it.
fn repeats(it: &Repetition, left: u32) -> bool {
    let times = range(it).map_or(0, |(least, most)| most.unwrap_or(least));
    if range(it).is_some_and(|(_, most)| most == Some(0)) {
        return true;
    }
    times <= left && stays_below(&it.ast, left.checked_div(times).unwrap_or(left))
}

fn stays_below(tree: &Ast, left: u32) -> bool {
    match tree {
        Ast::Repetition(it) => repeats(it, left),
        Ast::Group(group) => stays_below(&group.ast, left),
        Ast::Alternation(list) => list.asts.iter().all(|one| stays_below(one, left)),
        Ast::Concat(list) => list.asts.iter().all(|one| stays_below(one, left)),
        _ => true,
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
            "a{1000}",
            "(a{100}){10}",
            "(a*)*?",
            "((a{0}){500}){2}",
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
            ("a**", "invalid nested repetition operator: `**`"),
            ("a***", "invalid nested repetition operator: `**`"),
            ("(a+?){2}b{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a*??", "invalid nested repetition operator: `*??`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{2,1001}?", "invalid repeat count: `{2,1001}`"),
            ("((a{100}){10}b){2}", "invalid repeat count: `{2}`"),
            ("(?ix)a", "invalid or unsupported Perl syntax: `(?ix`"),
            ("(?u:a)", "invalid or unsupported Perl syntax: `(?u`"),
            (r"\u0041", r"invalid escape sequence: `\u`"),
            (r"[\u{41}]", r"invalid escape sequence: `\u`"),
            (r"\p{Klingon}", r"invalid character class range: `\p{Klingon}`"),
            ("(?P<a.b>c)", "invalid named capture: `(?P<a.b>`"),
        ] {
            assert_eq!(problem(pattern), Some(format!("error parsing regexp: {why}")), "{pattern}");
        }
    }
}
