//! Label and field selectors, from query strings and from `metav1.LabelSelector`.
//!
//! Parsing follows apimachinery's grammar and words its errors the same way. Matching is pure; which
//! fields a kind can be selected by is for the caller to check, by [`FieldSelector::requirements`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as metav1;

use super::field::{Error as FieldError, Path, aggregate};
use super::names;

mod fields;
mod lexer;
mod parser;

pub use fields::{FieldRequirement, FieldSelector};

/// Why a selector cannot be understood, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label. Its fields have been checked against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: BTreeSet<String>,
}

impl Requirement {
    /// # Errors
    /// When the key or a value is no label, or the number of values does not fit the operator.
    pub fn new(key: &str, operator: Operator, values: BTreeSet<String>) -> Result<Self, SelectorError> {
        let values_path = Path::new("values");
        let mut errors = Vec::new();
        errors.extend(label_key_error(key, &Path::new("key")));
        let shown = || serde_json::Value::from_iter(values.iter().cloned());
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                let words = "for 'in', 'notin' operators, values set can't be empty";
                errors.push(FieldError::invalid(&values_path, shown(), words));
            }
            Operator::Equals | Operator::NotEquals if values.len() != 1 => {
                let words = "exact-match compatibility requires one single value";
                errors.push(FieldError::invalid(&values_path, shown(), words));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                let words = "values set must be empty for exists and does not exist";
                errors.push(FieldError::invalid(&values_path, shown(), words));
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    let words = "for 'Gt', 'Lt' operators, exactly one value is required";
                    errors.push(FieldError::invalid(&values_path, shown(), words));
                }
                for (at, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
                    let words = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.push(FieldError::invalid(&values_path.index(at), value.as_str(), words));
                }
            }
            _ => {}
        }
        for (at, value) in values.iter().enumerate() {
            let problems = names::label_value(value);
            if !problems.is_empty() {
                let path = values_path.index(at).key(key);
                errors.push(FieldError::invalid(&path, value.as_str(), problems.join("; ")));
            }
        }
        match errors.is_empty() {
            true => Ok(Self { key: key.to_owned(), operator, values }),
            false => Err(SelectorError(aggregate(&errors))),
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        let found = labels.get(&self.key);
        match self.operator {
            Operator::Equals | Operator::In => found.is_some_and(|value| self.values.contains(value)),
            Operator::NotEquals | Operator::NotIn => found.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::GreaterThan => self.compare(found).is_some_and(|(value, bound)| value > bound),
            Operator::LessThan => self.compare(found).is_some_and(|(value, bound)| value < bound),
        }
    }

    fn compare(&self, found: Option<&String>) -> Option<(i64, i64)> {
        Some((found?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

fn label_key_error(key: &str, path: &Path) -> Option<FieldError> {
    let problems = names::qualified_name(key);
    (!problems.is_empty()).then(|| FieldError::invalid(path, key, problems.join("; ")))
}

/// A conjunction of requirements, or nothing at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSelector {
    /// `None` matches nothing; an empty list matches everything. Sorted by key.
    requirements: Option<Vec<Requirement>>,
}

impl Default for LabelSelector {
    fn default() -> Self {
        Self::everything()
    }
}

impl LabelSelector {
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }

    /// Reads the `labelSelector` of a query string: `app=web,tier in (a,b),!legacy`.
    ///
    /// # Errors
    /// In upstream's words: `unable to parse requirement: …`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parser::parse(text).map(Self::of)
    }

    /// Labels that everything selected has, with their values.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.requirements.iter().flatten().filter_map(|wanted| {
            let one = wanted.values.first().filter(|_| wanted.values.len() == 1)?;
            matches!(wanted.operator, Operator::Equals | Operator::In).then_some((wanted.key.as_str(), one.as_str()))
        })
    }

    /// Reads `spec.selector` of a workload: absent selects nothing, empty selects everything.
    ///
    /// # Errors
    /// When an expression is not valid; stored objects have been validated, so theirs always are.
    pub fn from_api(selector: Option<&metav1::LabelSelector>) -> Result<Self, SelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, BTreeSet::from([value.clone()]))?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
            };
            let values = expression.values.iter().flatten().cloned().collect();
            requirements.push(Requirement::new(&expression.key, operator, values)?);
        }
        Ok(Self::of(requirements))
    }

    /// Reads the `selector` map of a Service or ReplicationController; an empty map selects everything,
    /// so callers for whom it selects nothing must ask first. The labels are not validated.
    pub fn from_map(labels: &Labels) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: BTreeSet::from([value.clone()]),
        };
        Self::of(labels.iter().map(equals).collect())
    }

    /// Adds the requirements of `other`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.requirements, other.requirements) {
            (Some(mut mine), Some(theirs)) => {
                mine.extend(theirs);
                Self::of(mine)
            }
            _ => Self::nothing(),
        }
    }

    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.as_ref().is_some_and(|all| all.iter().all(|requirement| requirement.matches(labels)))
    }

    /// The same for an object's metadata, where no labels are written as `None`.
    pub fn matches_option(&self, labels: Option<&Labels>) -> bool {
        static NONE: Labels = Labels::new();
        self.matches(labels.unwrap_or(&NONE))
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = || self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match self.operator {
            Operator::Equals => write!(f, "{key}={}", values()),
            Operator::NotEquals => write!(f, "{key}!={}", values()),
            Operator::In => write!(f, "{key} in ({})", values()),
            Operator::NotIn => write!(f, "{key} notin ({})", values()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", values()),
            Operator::LessThan => write!(f, "{key}<{}", values()),
        }
    }
}

impl fmt::Display for LabelSelector {
    /// As the Scale subresource's `status.selector` and kubectl show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements().iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
