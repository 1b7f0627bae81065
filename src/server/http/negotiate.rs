//! What the client wants to get, and what it sent: `Accept` and `Content-Type`.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use crate::api::protobuf;
use crate::api::status::{Failure, Result};
use crate::server::pipeline::Media;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Yaml,
}

/// In which form objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum View {
    #[default]
    Plain,
    Table,
    /// `PartialObjectMetadata`, in lists `PartialObjectMetadataList`.
    Metadata,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Accept {
    pub format: Format,
    pub view: View,
}

const SUPPORTED: [&str; 2] = ["application/json", "application/yaml"];
const READ: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// The parameters of a media range.
fn parameters<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    parts.filter_map(|part| part.trim().split_once('=')).map(|(k, v)| (k.trim(), v.trim().trim_matches('"'))).collect()
}

fn view(parameters: &[(&str, &str)]) -> Option<View> {
    let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    match (get("as"), get("g"), get("v")) {
        (None, ..) => Some(View::Plain),
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(View::Table),
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
            Some(View::Metadata)
        }
        _ => None,
    }
}

/// The first acceptable form, best quality first.
///
/// # Errors
/// 406 when nothing offered is acceptable.
pub fn accept(headers: &HeaderMap) -> Result<Accept> {
    ranges(headers)
        .iter()
        .find_map(|(media, parameters)| {
            let format = match media.as_str() {
                "*/*" | "application/*" | "application/json" => Format::Json,
                "application/yaml" | "text/yaml" | "application/x-yaml" => Format::Yaml,
                _ => return None,
            };
            let pairs: Vec<_> = parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            Some(Accept { format, view: view(&pairs)? })
        })
        .ok_or_else(|| Failure::not_acceptable(&SUPPORTED))
}

type Range = (String, Vec<(String, String)>);

/// The media ranges of `Accept`, best quality first; none given means anything.
pub fn ranges(headers: &HeaderMap) -> Vec<Range> {
    let mut found: Vec<(f32, Range)> = Vec::new();
    let given = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in given.flat_map(|value| value.split(',')).filter(|range| !range.trim().is_empty()) {
        let mut parts = range.split(';');
        let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let parameters = parameters(parts);
        let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok()).unwrap_or(1.0);
        let owned = parameters.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        found.push((quality, (media, owned)));
    }
    if found.is_empty() {
        return vec![("*/*".to_owned(), Vec::new())];
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().filter(|(quality, _)| *quality > 0.0).map(|(_, range)| range).collect()
}

/// How the body of a create or update is written. Nothing said means JSON.
///
/// # Errors
/// 415 for anything else.
pub fn content(headers: &HeaderMap) -> Result<Media> {
    match content_type(headers).as_str() {
        "" | "application/json" => Ok(Media::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Media::Yaml),
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

    fn asked(value: &str) -> Option<Accept> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, value.parse().unwrap());
        accept(&headers).ok()
    }

    #[test]
    fn kubectl_gets_a_table_and_protobuf_falls_back() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(asked(table), Some(Accept { format: Format::Json, view: View::Table }));
        let protobuf = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(asked(protobuf), Some(Accept::default()));
        assert_eq!(asked("application/yaml"), Some(Accept { format: Format::Yaml, view: View::Plain }));
        assert_eq!(asked("text/html"), None);
        assert_eq!(asked("application/json;as=Other;g=meta.k8s.io;v=v1"), None);
    }
}
