//! Reads label selectors by apimachinery's grammar. Only [`super::LabelSelector::parse`] calls this.

use std::collections::BTreeSet;

use super::lexer::{Token, tokens};
use super::{Operator, Requirement, SelectorError, label_key_error};
use crate::api::field::Path;

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

type Result<T> = std::result::Result<T, SelectorError>;

fn wrong<T>(found: &str, expected: &str) -> Result<T> {
    Err(SelectorError(format!("found '{found}', expected: {expected}")))
}

pub fn parse(text: &str) -> Result<Vec<Requirement>> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek_value() {
            (Token::Name | Token::Not, _) => {
                let requirement = parser.requirement();
                requirements.push(requirement.map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?);
                match parser.take_value() {
                    (Token::End, _) => return Ok(requirements),
                    (Token::Comma, _) => match parser.peek_value() {
                        (Token::Name | Token::Not, _) => {}
                        (_, found) => return wrong(found, "identifier after ','"),
                    },
                    (_, found) => return wrong(found, "',' or 'end of string'"),
                }
            }
            (Token::End, _) => return Ok(requirements),
            (_, found) => return wrong(found, "!, identifier, or 'end of string'"),
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> (Token, &'a str) {
        self.tokens.get(self.at).copied().unwrap_or((Token::End, ""))
    }

    fn take(&mut self) -> (Token, &'a str) {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// The next token where a name is wanted: there `in` and `notin` are names.
    fn peek_value(&self) -> (Token, &'a str) {
        match self.peek() {
            (Token::In | Token::NotIn, text) => (Token::Name, text),
            other => other,
        }
    }

    fn take_value(&mut self) -> (Token, &'a str) {
        let token = self.peek_value();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement> {
        let absent = self.peek_value().0 == Token::Not;
        if absent {
            self.at += 1;
        }
        let (token, key) = self.take_value();
        if token != Token::Name {
            return wrong(key, "identifier");
        }
        if let Some(error) = label_key_error(key, &Path::root()) {
            return Err(SelectorError(error.to_string()));
        }
        if absent {
            return Requirement::new(key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, BTreeSet::new());
        }
        let operator = match self.take() {
            (Token::In, _) => Operator::In,
            (Token::NotIn, _) => Operator::NotIn,
            (Token::Equals, _) => Operator::Equals,
            (Token::NotEquals, _) => Operator::NotEquals,
            (Token::GreaterThan, _) => Operator::GreaterThan,
            (Token::LessThan, _) => Operator::LessThan,
            (_, found) => return wrong(found, "in, notin, =, ==, !=, gt, lt"),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>> {
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.take_value() {
            (Token::Name, value) => Ok(BTreeSet::from([value.to_owned()])),
            (_, found) => wrong(found, "identifier"),
        }
    }

    fn values(&mut self) -> Result<BTreeSet<String>> {
        let (token, found) = self.take_value();
        if token != Token::Open {
            return Err(SelectorError(format!("found '{found}' expected: '('")));
        }
        match self.peek_value() {
            (Token::Name | Token::Comma, _) => {
                let values = self.list()?;
                match self.take_value() {
                    (Token::Close, _) => Ok(values),
                    (_, found) => wrong(found, "')'"),
                }
            }
            (Token::Close, _) => {
                self.at += 1;
                Ok(BTreeSet::new())
            }
            (_, found) => wrong(found, "',', ')' or identifier"),
        }
    }

    /// Names between commas; where a name is missing the empty value is meant.
    fn list(&mut self) -> Result<BTreeSet<String>> {
        let mut values = BTreeSet::new();
        loop {
            match self.take_value() {
                (Token::Name, value) => {
                    values.insert(value.to_owned());
                    match self.peek_value() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, found) => return wrong(found, "',' or ')'"),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek_value().0 {
                        Token::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.at += 1;
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, found) => return wrong(found, "',', or identifier"),
            }
        }
    }
}
