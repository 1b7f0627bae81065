//! The parameters of `pods/log`: read as upstream's `PodLogOptions`, and refused as it refuses them. Pure.

use crate::api::field::{Error, Errors, Path};
use crate::api::go_text::quote;
use crate::api::gvk::GroupKind;
use crate::api::status::{Failure, Result};

const KIND: GroupKind<'_> = GroupKind { group: "", kind: "PodLogOptions" };
const STREAMS: [&str; 3] = ["All", "Stderr", "Stdout"];

/// Checks the parameters of a request for the log of the pod called `name`.
pub fn check(name: &str, query: &[(String, String)]) -> Result<()> {
    let text = |key: &str| query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let number = |key: &str| match text(key) {
        None | Some("") => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| unreadable(text)),
    };
    let (tail, limit, since) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    let since_time = text("sinceTime").filter(|text| !matches!(*text, "" | "null"));
    since_time.map_or(Ok(()), read_time)?;
    let mut errors = Errors::new();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        errors.push(Error::invalid(&Path::new("tailLines"), tail, "must be greater than or equal to 0"));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        errors.push(Error::invalid(&Path::new("limitBytes"), limit, "must be greater than 0"));
    }
    match (since, since_time) {
        (Some(_), Some(_)) => errors.push(of_all("at most one of `sinceTime` or `sinceSeconds` may be specified")),
        (Some(since), None) if since < 1 => {
            errors.push(Error::invalid(&Path::new("sinceSeconds"), since, "must be greater than 0"));
        }
        _ => {}
    }
    let stream = text("stream").unwrap_or("All");
    if !STREAMS.contains(&stream) {
        errors.push(Error::not_supported(&Path::new("stream"), stream, &STREAMS));
    }
    if stream != "All" && tail.is_some() {
        errors.push(of_all("`tailLines` and specific `stream` are mutually exclusive for now"));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::invalid(KIND, name, &errors)),
    }
}

/// Whether it is a time at all; what it means is for the kubelet.
fn read_time(text: &str) -> Result<()> {
    match text.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::bad_request(format!(
            "parsing time {0} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0} as \"2006\"",
            quote(text)
        ))),
    }
}

fn unreadable(text: &str) -> Failure {
    Failure::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

/// An error of no field in particular, whose path upstream leaves empty.
fn of_all(detail: &str) -> Error {
    let mut error = Error::forbidden(&Path::root(), detail);
    error.field.clear();
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_parameters_are_told_as_upstream_does() {
        let said = |query: &str| {
            let query: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            check("p", &query).err().map(|failure| (failure.code(), failure.message().to_owned()))
        };
        let invalid = |why: &str| Some((422, format!("PodLogOptions \"p\" is invalid: {why}")));
        assert_eq!(said("follow=true&tailLines=0&limitBytes=1&sinceSeconds=1&stream=All"), None);
        assert_eq!(said("stream=Stdout"), None);
        assert_eq!(said("tailLines=-1"), invalid("tailLines: Invalid value: -1: must be greater than or equal to 0"));
        assert_eq!(said("limitBytes=0"), invalid("limitBytes: Invalid value: 0: must be greater than 0"));
        assert_eq!(
            said("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z"),
            invalid(": Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
        );
        assert_eq!(
            said("stream=Stdout&tailLines=3"),
            invalid(": Forbidden: `tailLines` and specific `stream` are mutually exclusive for now")
        );
        let unsupported = "stream: Unsupported value: \"Both\": supported values: \"All\", \"Stderr\", \"Stdout\"";
        assert_eq!(said("stream=Both"), invalid(unsupported));
        let no_time = "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"";
        assert_eq!(said("sinceTime=x"), Some((400, no_time.to_owned())));
        assert_eq!(said("tailLines=x"), Some((400, "strconv.ParseInt: parsing \"x\": invalid syntax".to_owned())));
    }
}
