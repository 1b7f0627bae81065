//! Field selectors: `metadata.name=web,status.phase!=Running`.

use std::fmt;

use super::SelectorError;

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: String,
    pub equal: bool,
    pub value: String,
}

/// A conjunction of conditions on fields.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads the `fieldSelector` of a query string. In values, `\` escapes `,`, `=` and itself.
    ///
    /// # Errors
    /// In upstream's words.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in terms(text) {
            if term.is_empty() {
                continue;
            }
            let Some((field, equal, value)) = split_term(term) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            requirements.push(FieldRequirement { field: field.to_owned(), equal, value: unescape(value)? });
        }
        Ok(Self { requirements })
    }

    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object whose field `f` has the value `value_of(f)` is selected. Absent fields are `""`.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> &'a str) -> bool {
        self.requirements.iter().all(|wanted| (value_of(&wanted.field) == wanted.value) == wanted.equal)
    }

    /// The value that `field` must have for anything to be selected, where one is named.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self.requirements.iter().find(|wanted| wanted.equal && wanted.field == field);
        found.map(|wanted| wanted.value.as_str())
    }
}

/// Splits at commas that are not escaped.
fn terms(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    out.push(&text[start..]);
    out
}

/// Splits at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..at], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(other) => {
                    return Err(SelectorError(format!("invalid field selector: invalid escape sequence: \\{other}")));
                }
                None => return Err(SelectorError("invalid field selector: invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => {
                return Err(SelectorError(format!("invalid field selector: unescaped character in selector: {c}")));
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, wanted) in self.requirements.iter().enumerate() {
            let value = wanted.value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}{}{value}", wanted.field, if wanted.equal { "=" } else { "!=" })?;
        }
        Ok(())
    }
}
