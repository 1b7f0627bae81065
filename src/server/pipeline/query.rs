//! The query string of a request, decoded once.

use crate::api::status::{Failure, Result};

/// Parameters in the order given; of repeated ones the first counts, as in Go's `url.Values.Get`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(raw: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(raw.unwrap_or_default().as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of `name`, empty where it has none or is absent.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Present and neither `false` nor `0`, as apimachinery's query conversion reads booleans.
    pub fn flag(&self, name: &str) -> bool {
        self.find(name).is_some_and(|value| !matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }
    pub fn optional_flag(&self, name: &str) -> Option<bool> {
        self.find(name).map(|_| self.flag(name))
    }

    /// # Errors
    /// 400 where it is there and no number.
    pub fn number(&self, name: &str) -> Result<Option<i64>> {
        match self.find(name) {
            None | Some("") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| Failure::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
        }
    }
}
