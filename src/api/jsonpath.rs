//! JSONPath templates as kubectl and printer columns write them:
//! <https://kubernetes.io/docs/reference/kubectl/jsonpath/>. What is missing selects nothing. Pure.

mod parse;

use std::cmp::Ordering;

use serde_json::Value;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("unclosed action")]
    UnclosedAction,
    #[error("unterminated array")]
    UnterminatedArray,
    #[error("unterminated filter")]
    UnterminatedFilter,
    #[error("unterminated quoted string")]
    UnterminatedQuote,
    #[error("invalid array index {0}")]
    Index(String),
    #[error("cannot parse number {0}")]
    Number(String),
    #[error("unrecognized character in action: {0:?}")]
    Character(char),
    #[error("unrecognized identifier {0}")]
    Identifier(String),
    #[error("invalid multiple recursive descent")]
    TwiceRecursive,
    #[error("not in range, nothing to end")]
    NothingToEnd,
    #[error("unrecognized filter operator {0}")]
    Operator(String),
    #[error("{0} is not array or slice")]
    NotAList(String),
    #[error("array index out of bounds: index {index}, length {length}")]
    OutOfBounds { index: i64, length: usize },
    #[error("can only compare one element at a time")]
    NotOne,
    #[error("incompatible types for comparison")]
    Incomparable,
}

/// Text with actions in braces.
#[derive(Debug)]
pub struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Select(Steps),
    /// `{range …}` to `{end}`.
    Each(Steps, Vec<Part>),
}

type Steps = Vec<Step>;

#[derive(Debug)]
enum Step {
    Literal(Value),
    Field(String),
    Index(i64),
    Slice { start: i64, end: Option<i64>, step: usize },
    Wildcard,
    Recursive,
    Union(Vec<Steps>),
    Exists(Steps),
    Compare(Steps, fn(Ordering) -> bool, Steps),
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::template(text).map(Self)
    }

    /// One path, which may leave out the braces and the first dot.
    pub fn relaxed(path: &str) -> Result<Self, Error> {
        let path = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
        let dot = if path.starts_with(['.', '[', '$', '@']) { "" } else { "." };
        Self::parse(&format!("{{{dot}{path}}}"))
    }

    pub fn render(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        render(&self.0, value, &mut out)?;
        Ok(out)
    }

    /// All that its actions select.
    pub fn select<'a>(&'a self, value: &'a Value) -> Result<Vec<&'a Value>, Error> {
        let mut found = Vec::new();
        for part in &self.0 {
            if let Part::Select(steps) = part {
                found.extend(walk(steps, vec![value])?);
            }
        }
        Ok(found)
    }
}

/// As templates print a value: text bare, all else as JSON.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn render(parts: &[Part], here: &Value, out: &mut String) -> Result<(), Error> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Select(steps) => {
                let found: Vec<_> = walk(steps, vec![here])?.into_iter().map(text).collect();
                out.push_str(&found.join(" "));
            }
            Part::Each(steps, inner) => {
                for item in walk(steps, vec![here])? {
                    render(inner, item, out)?;
                }
            }
        }
    }
    Ok(())
}

fn walk<'a>(steps: &'a [Step], from: Vec<&'a Value>) -> Result<Vec<&'a Value>, Error> {
    steps.iter().try_fold(from, |values, step| take(step, values))
}

fn take<'a>(step: &'a Step, values: Vec<&'a Value>) -> Result<Vec<&'a Value>, Error> {
    Ok(match step {
        Step::Literal(literal) => vec![literal],
        Step::Field(name) => values.into_iter().filter_map(|value| value.as_object()?.get(name)).collect(),
        Step::Wildcard => values.into_iter().flat_map(children).collect(),
        Step::Recursive => values.into_iter().flat_map(descendants).collect(),
        Step::Union(paths) => {
            let found: Result<Vec<_>, _> = paths.iter().map(|path| walk(path, values.clone())).collect();
            found?.into_iter().flatten().collect()
        }
        Step::Index(index) => lists(values)?.into_iter().map(|list| at(list, *index)).collect::<Result<_, _>>()?,
        Step::Slice { start, end, step } => {
            let mut found = Vec::new();
            for list in lists(values)? {
                found.extend(slice(list, *start, *end)?.iter().step_by(*step));
            }
            found
        }
        Step::Exists(path) => {
            let mut found = items(values)?;
            found.retain(|item| walk(path, vec![item]).is_ok_and(|found| !found.is_empty()));
            found
        }
        Step::Compare(left, holds, right) => {
            let mut found = Vec::new();
            for item in items(values)? {
                let one = |path| match walk(path, vec![item])?.as_slice() {
                    [one] => Ok(Some(*one)),
                    [] => Ok(None),
                    _ => Err(Error::NotOne),
                };
                if let (Some(left), Some(right)) = (one(left)?, one(right)?)
                    && holds(compare(left, right)?)
                {
                    found.push(item);
                }
            }
            found
        }
    })
}

fn lists(values: Vec<&Value>) -> Result<Vec<&Vec<Value>>, Error> {
    let values = values.into_iter().filter(|value| !value.is_null());
    values.map(|value| value.as_array().ok_or_else(|| Error::NotAList(value.to_string()))).collect()
}

fn items(values: Vec<&Value>) -> Result<Vec<&Value>, Error> {
    Ok(lists(values)?.into_iter().flatten().collect())
}

/// An index from the end is negative.
fn place(index: i64, length: usize) -> i64 {
    if index < 0 { index + i64::try_from(length).unwrap_or(i64::MAX) } else { index }
}

fn at(list: &[Value], index: i64) -> Result<&Value, Error> {
    let index = place(index, list.len());
    let found = usize::try_from(index).ok().and_then(|index| list.get(index));
    found.ok_or(Error::OutOfBounds { index, length: list.len() })
}

fn slice(list: &[Value], start: i64, end: Option<i64>) -> Result<&[Value], Error> {
    let length = list.len();
    let start = place(start, length);
    let end = end.map_or(i64::try_from(length).unwrap_or(i64::MAX), |end| place(end, length));
    if start == end {
        return Ok(&[]);
    }
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let beyond = || Error::OutOfBounds { index: if start < 0 { start } else { end - 1 }, length };
    range.and_then(|(start, end)| list.get(start..end)).ok_or_else(beyond)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// The value and all below it that have something below them.
fn descendants(value: &Value) -> Vec<&Value> {
    let below = children(value);
    if below.is_empty() {
        return below;
    }
    std::iter::once(value).chain(below.into_iter().flat_map(descendants)).collect()
}

/// The order of two values of a kind.
pub fn compare(left: &Value, right: &Value) -> Result<Ordering, Error> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
        }
        _ => None,
    }
    .ok_or(Error::Incomparable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Value {
        json!({
            "kind": "List",
            "items": [
                {"metadata": {"name": "a", "labels": {"k8s.io/y": "1"}}, "n": 5, "ready": true,
                 "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}},
                {"metadata": {"name": "b"}, "n": 7, "status": {"conditions": []}},
                {"metadata": {"name": "c"}, "n": 9.5, "ready": false},
            ],
        })
    }

    #[test]
    fn templates_print_what_they_select() {
        for (template, expected) in [
            ("{.kind}", "List"),
            ("{kind}", "!unrecognized identifier kind"),
            ("{@.kind} {$.kind}", "List List"),
            ("no action", "no action"),
            ("{.items[0].metadata.name}", "a"),
            ("{.items[-1].metadata.name}", "c"),
            ("{.items[*].metadata.name}", "a b c"),
            ("{.items[*]['metadata.name', 'n']}", "a b c 5 7 9.5"),
            ("{.items[0,2].metadata.name}", "a c"),
            ("{.items[1:].metadata.name}", "b c"),
            ("{.items[:-1].metadata.name}", "a b"),
            ("{.items[0:3:2].metadata.name}", "a c"),
            ("{.items[1:1].metadata.name}", ""),
            ("{.items[0].metadata.labels.k8s\\.io/y}", "1"),
            ("{.items[0].metadata.labels['k8s\\.io/y']}", "1"),
            ("{.items[0].metadata}", r#"{"labels":{"k8s.io/y":"1"},"name":"a"}"#),
            ("{..name}", "a b c"),
            ("{.items[?(@.n>5)].metadata.name}", "b c"),
            ("{.items[?(@.n >= 7)].n}", "7 9.5"),
            ("{.items[?(@.metadata.name!=\"b\")].n}", "5 9.5"),
            ("{.items[?(@.ready==true)].metadata.name}", "a"),
            ("{.items[?(@.ready)].metadata.name}", "a c"),
            ("{.items[0].status.conditions[?(@.type=='Ready')].status}", "True"),
            ("{.items[0].status.conditions[?(@.type==\"no)t\")].status}", ""),
            ("{range .items[*]}{.metadata.name}={.n};{end} of {.kind}", "a=5;b=7;c=9.5; of List"),
            ("{range .items[*]}[{range .status.conditions[*]}{.type},{end}]{end}", "[Ready,Other,][][]"),
            ("{range .none[*]}x{end}y", "y"),
            ("{range .items[*]}{.metadata.name}{\"\\t\\\"\\n\"}{end}", "a\t\"\nb\t\"\nc\t\"\n"),
            ("{.none.at.all[0]}{'it\\'s'} {\"\\u00e9\"} {3} {-1.5} {true}", "it's é 3 -1.5 true"),
            ("{.items[3]}", "!array index out of bounds: index 3, length 3"),
            ("{.items[0:9]}", "!array index out of bounds: index 8, length 3"),
            ("{.kind[0]}", "!\"List\" is not array or slice"),
            ("{.kind[?(@.x)]}", "!\"List\" is not array or slice"),
            ("{.items[?(@.n>\"x\")]}", "!incompatible types for comparison"),
            ("{.items[?(@.n=5)]}", "!unrecognized filter operator ="),
            ("{.items[0", "!unterminated array"),
            ("{.items[x]}", "!invalid array index x"),
            ("{.items[?(@.x}", "!unterminated filter"),
            ("{.kind", "!unclosed action"),
            ("{\"x}", "!unterminated quoted string"),
            ("{....name}", "!invalid multiple recursive descent"),
            ("{#}", "!unrecognized character in action: '#'"),
            ("{1.2.3}", "!cannot parse number 1.2.3"),
            ("{end}", "!not in range, nothing to end"),
        ] {
            let printed = Template::parse(template).and_then(|template| template.render(&pods()));
            assert_eq!(printed.unwrap_or_else(|error| format!("!{error}")), expected, "{template}");
        }
    }

    #[test]
    fn a_path_alone_may_be_bare() {
        for path in ["metadata.name", ".metadata.name", "{.metadata.name}", "{metadata.name}"] {
            let pods = pods();
            let path = Template::relaxed(path).unwrap();
            assert_eq!(path.select(&pods["items"][1]).unwrap(), ["b"]);
        }
    }
}
