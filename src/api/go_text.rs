//! Text as Go's `%q` quotes it: upstream's messages show values so.

use std::fmt::Write;

/// The text between quotes, on one line, whatever is in it.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|letter| push(&mut out, letter));
    out.push('"');
    out
}

fn push(out: &mut String, letter: char) {
    let short = match letter {
        '"' => Some('"'),
        '\\' => Some('\\'),
        '\u{7}' => Some('a'),
        '\u{8}' => Some('b'),
        '\u{b}' => Some('v'),
        '\u{c}' => Some('f'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\t' => Some('t'),
        _ => None,
    };
    if let Some(short) = short {
        out.push('\\');
        return out.push(short);
    }
    let escaped = match u32::from(letter) {
        _ if is_printable(letter) => return out.push(letter),
        code @ ..0x80 => write!(out, "\\x{code:02x}"),
        code @ ..0x1_0000 => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
    escaped.unwrap_or_default();
}

/// What Rust shows as it is, and marks that combine with the letter before, which it does not.
fn is_printable(letter: char) -> bool {
    let mut shown = letter.escape_debug();
    letter == '\''
        || ('\u{300}'..='\u{36f}').contains(&letter)
        || (shown.next() == Some(letter) && shown.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_quotes() {
        let cases = [
            ("it's", r#""it's""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\0\u{1}\u{7}\n\u{7f}", r#""\x00\x01\a\n\x7f""#),
            ("é日\u{ad}\u{feff}\u{e0001}", r#""é日\u00ad\ufeff\U000e0001""#),
        ];
        for (text, quoted) in cases {
            assert_eq!(quote(text), quoted);
        }
    }
}
