//! From text to [`Part`]s.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Error, Part, Step, Steps};

/// What ends a field's name or a word.
const ENDS: [char; 11] = ['.', ',', '[', ']', '$', '@', '{', '}', ' ', '\t', '\n'];

pub fn template(text: &str) -> Result<Vec<Part>, Error> {
    // The ranges that are open, each with what came before it.
    let mut open: Vec<(Steps, Vec<Part>)> = Vec::new();
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once('{') {
        let mut input = Input(action);
        let word = input.action()?;
        rest = input.0;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        match word {
            Action::Range(steps) => open.push((steps, std::mem::take(&mut parts))),
            Action::End => parts = close(open.pop().ok_or(Error::NothingToEnd)?, parts),
            Action::Select(steps) => parts.push(Part::Select(steps)),
        }
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    // A range without an end goes to the end of the text.
    Ok(open.into_iter().rfold(parts, |parts, range| close(range, parts)))
}

fn close((steps, mut outer): (Steps, Vec<Part>), inner: Vec<Part>) -> Vec<Part> {
    outer.push(Part::Each(steps, inner));
    outer
}

enum Action {
    Range(Steps),
    End,
    Select(Steps),
}

/// What is left to be read.
struct Input<'a>(&'a str);

impl<'a> Input<'a> {
    fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.0.strip_prefix(prefix);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn split(&mut self, at: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(at);
        self.0 = rest;
        taken
    }

    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        self.split(self.0.find(ends).unwrap_or(self.0.len()))
    }

    /// Up to the closing brace, and that.
    fn action(&mut self) -> Result<Action, Error> {
        self.0 = self.0.trim_start_matches(' ');
        let mut ahead = Input(self.0);
        let word = ahead.until(|c| ENDS.contains(&c));
        if matches!(word, "range" | "end") {
            self.0 = ahead.0;
        }
        let steps = self.steps('}')?;
        Ok(match word {
            "range" => Action::Range(steps),
            "end" => Action::End,
            _ => Action::Select(steps),
        })
    }

    /// Up to `close`, and that.
    fn steps(&mut self, close: char) -> Result<Steps, Error> {
        let mut steps = Vec::new();
        while let Some(next) = self.0.chars().next() {
            if next == close {
                self.split(close.len_utf8());
                return Ok(steps);
            }
            if self.eat("[?(") {
                steps.push(self.filter()?);
                continue;
            }
            if self.eat("..") {
                if matches!(steps.last(), Some(Step::Recursive)) {
                    return Err(Error::TwiceRecursive);
                }
                steps.push(Step::Recursive);
                if self.0.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                    steps.push(self.field());
                }
                continue;
            }
            match next {
                '\n' | '\r' => break,
                ' ' | '@' | '$' => drop(self.split(1)),
                '[' => self.array(&mut steps)?,
                '"' | '\'' => steps.push(Step::Literal(self.quoted(next)?.into())),
                '.' => {
                    self.split(1);
                    steps.push(self.field());
                }
                '+' | '-' | '0'..='9' => steps.push(Step::Literal(self.number()?)),
                c if c.is_alphanumeric() || c == '_' => match self.until(|c| ENDS.contains(&c)) {
                    "true" => steps.push(Step::Literal(true.into())),
                    "false" => steps.push(Step::Literal(false.into())),
                    word => return Err(Error::Identifier(word.to_owned())),
                },
                c => return Err(Error::Character(c)),
            }
        }
        Err(Error::UnclosedAction)
    }

    /// A name in which a backslash makes the next character a part of it.
    fn field(&mut self) -> Step {
        let mut name = String::new();
        let mut chars = self.0.char_indices();
        let mut end = self.0.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
                c if ENDS.contains(&c) => {
                    end = at;
                    break;
                }
                c => name.push(c),
            }
        }
        self.split(end);
        if name == "*" { Step::Wildcard } else { Step::Field(name) }
    }

    fn number(&mut self) -> Result<Value, Error> {
        let sign = usize::from(self.0.starts_with(['+', '-']));
        let digits = self.0[sign..].find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(self.0.len() - sign);
        let text = self.split(sign + digits);
        let whole = text.parse::<i64>().map(Value::from);
        whole.or_else(|_| text.parse::<f64>().map(Value::from)).map_err(|_| Error::Number(text.to_owned()))
    }

    fn array(&mut self, steps: &mut Steps) -> Result<(), Error> {
        let end = self.0.find([']', '\n']).filter(|end| self.0[*end..].starts_with(']'));
        let text = self.split(end.ok_or(Error::UnterminatedArray)? + 1);
        let inner = &text[1..text.len() - 1];
        let mut paths = Vec::new();
        for part in inner.split(',') {
            paths.push(element(if inner.contains(',') { part.trim_matches(' ') } else { part })?);
        }
        match paths.len() {
            1 => steps.extend(paths.into_iter().flatten()),
            _ => steps.push(Step::Union(paths)),
        }
        Ok(())
    }

    /// After the quote, to its pair: a backslash takes the next character as Go does.
    fn quoted(&mut self, quote: char) -> Result<String, Error> {
        let mut out = String::new();
        let mut chars = self.0.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                c if c == quote => {
                    self.split(at + 1);
                    return Ok(out);
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('t') => out.push('\t'),
                    Some('r') => out.push('\r'),
                    Some('u') => {
                        let hex: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        out.push(code.ok_or(Error::UnterminatedQuote)?);
                    }
                    Some(c) => out.push(c),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(Error::UnterminatedQuote)
    }

    /// After `[?(`, to `)]`.
    fn filter(&mut self) -> Result<Step, Error> {
        let mut quote = None;
        let mut escaped = false;
        let end = self.0.find(|c: char| {
            let was = escaped;
            escaped = c == '\\' && !was;
            match (quote, c) {
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), _) if c == open && !was => quote = None,
                (None, ')') | (_, '\n') => return true,
                _ => {}
            }
            false
        });
        let text = self.split(end.ok_or(Error::UnterminatedFilter)?);
        if !self.eat(")]") {
            return Err(Error::UnterminatedFilter);
        }
        let path = |text: &str| Input(&format!("{}}}", text.trim())).steps('}');
        let operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let Some((left, rest)) = text.find(operator).filter(|at| *at > 0).map(|at| text.split_at(at)) else {
            return Ok(Step::Exists(path(text)?));
        };
        let (sign, right) = rest.split_at(rest.find(|c| !operator(c)).unwrap_or(rest.len()));
        let holds: fn(Ordering) -> bool = match sign {
            "==" => Ordering::is_eq,
            "!=" => Ordering::is_ne,
            "<" => Ordering::is_lt,
            "<=" => Ordering::is_le,
            ">" => Ordering::is_gt,
            ">=" => Ordering::is_ge,
            _ => return Err(Error::Operator(sign.to_owned())),
        };
        Ok(Step::Compare(path(left)?, holds, path(right)?))
    }
}

/// What stands in brackets: `*`, `'name'`, an index, or `start:end:step`.
fn element(text: &str) -> Result<Steps, Error> {
    if text == "*" {
        return Ok(vec![Step::Slice { start: 0, end: None, step: 1 }]);
    }
    if let Some(name) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Input(&format!(".{name}}}")).steps('}');
    }
    let wrong = || Error::Index(text.to_owned());
    let number = |text: &str| text.parse::<i64>().map_err(|_| wrong());
    let known = |text: &str| if text.is_empty() { Ok(None) } else { number(text).map(Some) };
    let parts: Vec<_> = text.split(':').collect();
    Ok(vec![match parts.as_slice() {
        [index] => Step::Index(number(index)?),
        [start, end, step @ ..] if step.len() < 2 => {
            let step = step.first().map_or(Ok(None), |step| known(step))?.unwrap_or(1);
            let step = usize::try_from(step).ok().filter(|step| *step > 0).ok_or_else(wrong)?;
            Step::Slice { start: known(start)?.unwrap_or(0), end: known(end)?, step }
        }
        _ => return Err(wrong()),
    }])
}
