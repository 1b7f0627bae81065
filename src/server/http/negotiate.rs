//! What the client wants to get, and what it sent: `Accept` and `Content-Type`.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

use crate::api::protobuf;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::Media;
use crate::server::pipeline::query::Query;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    /// On many lines, for people.
    PrettyJson,
    Yaml,
}

/// In which form objects are shown, and in which version of `meta.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct View {
    pub shown: Shown,
    /// `v1beta1`, which old clients ask for; else `v1`.
    pub beta: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Shown {
    #[default]
    Plain,
    Table,
    /// `PartialObjectMetadata`.
    Metadata,
    MetadataList,
}

impl View {
    pub fn api_version(self) -> &'static str {
        if self.beta { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Accept {
    pub format: Format,
    pub view: View,
}

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
/// What we write.
const WRITTEN: [&str; 2] = [JSON, YAML];
/// What upstream reads and writes, as its messages list it.
pub(super) const READ: [&str; 3] = [JSON, YAML, protobuf::MEDIA_TYPE];
pub(super) const STREAMED: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
/// The media types of patches.
pub(super) const PATCHES: [&str; 4] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", APPLY];
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// One media range of `Accept`.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    pub media: String,
    parameters: Vec<(String, String)>,
    quality: f32,
}

impl Range {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// How narrow it is: a type and a subtype before a type before anything.
    fn narrowness(&self) -> u8 {
        match self.media.split_once('/') {
            Some(("*", _)) | None => 0,
            Some((_, "*")) => 1,
            Some(_) => 2,
        }
    }

    pub fn covers(&self, media: &str) -> bool {
        match self.media.split_once('/') {
            Some(("*", "*")) => true,
            Some((kind, "*")) => media.split_once('/').is_some_and(|(offered, _)| offered == kind),
            _ => self.media == media,
        }
    }

    /// The form it asks for; `None` where there is no such form.
    fn view(&self) -> Option<View> {
        if self.get("stream").is_some_and(|stream| !matches!(stream, "" | "watch")) {
            return None;
        }
        let shown = match (self.get("as"), self.get("g"), self.get("v")) {
            (None, None, None) => return Some(View::default()),
            (Some("Table"), Some("meta.k8s.io"), _) => Shown::Table,
            (Some("PartialObjectMetadata"), Some("meta.k8s.io"), _) => Shown::Metadata,
            (Some("PartialObjectMetadataList"), Some("meta.k8s.io"), _) => Shown::MetadataList,
            _ => return None,
        };
        match self.get("v") {
            Some("v1") => Some(View { shown, beta: false }),
            Some("v1beta1") => Some(View { shown, beta: true }),
            _ => None,
        }
    }
}

/// The media ranges of `Accept`, the most wanted first; none given means anything.
pub fn ranges(headers: &HeaderMap) -> Vec<Range> {
    let given = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut found: Vec<Range> = given.flat_map(|value| value.split(',')).filter_map(range).collect();
    if found.is_empty() {
        return vec![Range { media: "*/*".to_owned(), parameters: Vec::new(), quality: 1.0 }];
    }
    found.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(b.narrowness().cmp(&a.narrowness())));
    found.retain(|range| range.quality > 0.0);
    found
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';');
    let media = parts.next()?.trim().to_ascii_lowercase();
    if media.is_empty() {
        return None;
    }
    let pair = |part: &str| {
        let (key, value) = part.trim().split_once('=')?;
        Some((key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
    };
    let parameters: Vec<(String, String)> = parts.filter_map(pair).collect();
    let quality = parameters.iter().find(|(key, _)| key == "q").and_then(|(_, q)| q.parse().ok()).unwrap_or(1.0);
    Some(Range { media, parameters, quality })
}

/// The first of the offered media types that the client wants most, and the range that says so.
pub fn choose<'a>(offered: &[&'static str], ranges: &'a [Range]) -> Option<(&'static str, &'a Range)> {
    let covered = |range: &'a Range| offered.iter().find(|media| range.covers(media)).map(|media| (*media, range));
    ranges.iter().find_map(covered)
}

/// The form to answer in.
///
/// # Errors
/// 406 when nothing offered is acceptable.
pub fn accept(headers: &HeaderMap, query: &Query) -> Result<Accept> {
    accept_views(headers, query, |_| true)
}

/// The same for what has no table.
///
/// # Errors
/// 406 when nothing offered is acceptable.
pub fn without_table(headers: &HeaderMap, query: &Query) -> Result<Accept> {
    accept_views(headers, query, |view| view.shown != Shown::Table)
}

fn accept_views(headers: &HeaderMap, query: &Query, offered: fn(View) -> bool) -> Result<Accept> {
    let ranges = ranges(headers);
    let found = ranges.iter().find_map(|range| {
        let media = WRITTEN.iter().find(|media| range.covers(media))?;
        let view = range.view().filter(|view| offered(*view))?;
        Some((*media, view, range.get("pretty") == Some("1")))
    });
    let (media, view, asked) = found.ok_or_else(|| Failure::not_acceptable(&READ))?;
    let format = match media {
        YAML => Format::Yaml,
        _ if asked || pretty(headers, query) => Format::PrettyJson,
        _ => Format::Json,
    };
    Ok(Accept { format, view })
}

/// The form in which failures are told: the one asked for, else one that everybody can read.
pub fn of_failures(headers: &HeaderMap, query: &Query) -> Format {
    accept(headers, query).map_or(Format::PrettyJson, |accept| accept.format)
}

/// The form of a watch's events, which are JSON.
///
/// # Errors
/// 406 when that is not acceptable.
pub fn stream(headers: &HeaderMap, query: &Query) -> Result<Accept> {
    match accept(headers, query) {
        Ok(accept) if accept.format != Format::Yaml => Ok(accept),
        _ => Err(Failure::not_acceptable(&STREAMED)),
    }
}

/// Whether a person reads the answer: says so, or uses a browser or a tool of the command line.
fn pretty(headers: &HeaderMap, query: &Query) -> bool {
    match query.get("pretty") {
        "" => {
            let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            ["curl", "Wget", "Mozilla/5.0"].iter().any(|human| agent.starts_with(human))
        }
        said => matches!(said, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
}

/// How the body of a create or update is written. Nothing said means JSON.
///
/// # Errors
/// 415 for anything else.
pub fn content(headers: &HeaderMap) -> Result<Media> {
    match content_type(headers).as_str() {
        "" | JSON => Ok(Media::Json),
        YAML => Ok(Media::Yaml),
        protobuf::MEDIA_TYPE => Ok(Media::Protobuf),
        _ => Err(Failure::unsupported_media_type(&READ)),
    }
}

/// The media type of the body, without parameters.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn asked(value: &str) -> Option<(Format, Shown, bool)> {
        let accept = accept(&headers(ACCEPT, value), &Query::parse(None)).ok()?;
        Some((accept.format, accept.view.shown, accept.view.beta))
    }

    #[test]
    fn the_most_wanted_form_that_there_is_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let older = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
        for (given, expected) in [
            (format!("{table},{older},application/json"), Some((Format::Json, Shown::Table, false))),
            (older.to_owned(), Some((Format::Json, Shown::Table, true))),
            ("application/vnd.kubernetes.protobuf,application/json".into(), Some((Format::Json, Shown::Plain, false))),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1".into(),
                Some((Format::Json, Shown::MetadataList, false)),
            ),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1".into(), Some((Format::Json, Shown::Metadata, false))),
            ("application/yaml".into(), Some((Format::Yaml, Shown::Plain, false))),
            ("application/json;q=0.5, application/yaml".into(), Some((Format::Yaml, Shown::Plain, false))),
            // A narrow range counts before a wide one of the same quality.
            ("*/*, application/yaml".into(), Some((Format::Yaml, Shown::Plain, false))),
            ("application/*".into(), Some((Format::Json, Shown::Plain, false))),
            ("application/json;pretty=1".into(), Some((Format::PrettyJson, Shown::Plain, false))),
            ("application/json;stream=watch".into(), Some((Format::Json, Shown::Plain, false))),
            ("application/json;stream=other".into(), None),
            ("application/json;q=0".into(), None),
            ("text/html".into(), None),
            ("text/yaml".into(), None),
            ("application/json;as=Other;g=meta.k8s.io;v=v1".into(), None),
            ("application/json;as=Table;g=meta.k8s.io;v=v2".into(), None),
            ("application/json;as=Table".into(), None),
        ] {
            assert_eq!(asked(&given), expected, "{given}");
        }
    }

    #[test]
    fn what_has_no_table_is_shown_otherwise_or_not_at_all() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let shown =
            |value: &str| without_table(&headers(ACCEPT, value), &Query::parse(None)).map(|accept| accept.view.shown);
        assert_eq!(shown(&format!("{table},application/json")).ok(), Some(Shown::Plain));
        assert_eq!(shown(table).unwrap_err().code(), 406);
    }

    #[test]
    fn people_get_many_lines() {
        let format =
            |agent: &str, query: &str| accept(&headers(USER_AGENT, agent), &Query::parse(Some(query))).unwrap().format;
        assert_eq!(format("curl/8.0", ""), Format::PrettyJson);
        assert_eq!(format("curl/8.0", "pretty=false"), Format::Json);
        assert_eq!(format("kubectl/v1.32", ""), Format::Json);
        assert_eq!(format("kubectl/v1.32", "pretty=true"), Format::PrettyJson);
    }

    #[test]
    fn a_watch_is_json() {
        let stream = |value: &str| stream(&headers(ACCEPT, value), &Query::parse(None));
        assert!(stream("application/json").is_ok() && stream("application/yaml, */*;q=0.1").is_err());
        let failure = stream("application/yaml").unwrap_err();
        assert_eq!(
            failure.message(),
            "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
        );
    }

    #[test]
    fn bodies_are_of_a_known_type() {
        let media = |value: &str| content(&headers(CONTENT_TYPE, value));
        assert!(matches!(media("application/json; charset=utf-8"), Ok(Media::Json)));
        assert!(matches!(media("Application/YAML"), Ok(Media::Yaml)));
        let failure = media("text/plain").unwrap_err();
        assert_eq!(
            failure.message(),
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
    }
}
