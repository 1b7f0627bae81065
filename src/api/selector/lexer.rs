//! The tokens of a label selector. Only the parser beside it calls this.

/// A token and, for names and errors, its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Name,
    In,
    NotIn,
    Equals,
    NotEquals,
    GreaterThan,
    LessThan,
    Not,
    Comma,
    Open,
    Close,
    End,
    /// A run of operator characters that is no operator.
    Unknown,
}

const SPECIAL: &[char] = &['=', '!', '(', ')', ',', '>', '<'];

fn operator(text: &str) -> Option<Token> {
    Some(match text {
        "=" | "==" => Token::Equals,
        "!=" => Token::NotEquals,
        ">" => Token::GreaterThan,
        "<" => Token::LessThan,
        "!" => Token::Not,
        "," => Token::Comma,
        "(" => Token::Open,
        ")" => Token::Close,
        _ => return None,
    })
}

/// Splits `text` into tokens; the last is always [`Token::End`].
pub fn tokens(text: &str) -> Vec<(Token, &str)> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = rest.chars().next() else {
            out.push((Token::End, ""));
            return out;
        };
        let end = if SPECIAL.contains(&first) { operator_end(rest) } else { name_end(rest) };
        let (word, after) = rest.split_at(end);
        let token = match word {
            "in" => Token::In,
            "notin" => Token::NotIn,
            _ if SPECIAL.contains(&first) => operator(word).unwrap_or(Token::Unknown),
            _ => Token::Name,
        };
        out.push((token, word));
        rest = after;
    }
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| SPECIAL.contains(&c) || matches!(c, ' ' | '\t' | '\r' | '\n')).unwrap_or(text.len())
}

/// The longest operator at the start; without one, the whole run of operator characters.
fn operator_end(text: &str) -> usize {
    let run = text.find(|c: char| !SPECIAL.contains(&c)).unwrap_or(text.len());
    (1..=run.min(2)).rev().find(|end| operator(&text[..*end]).is_some()).unwrap_or(run)
}
