//! Where a webhook is reached: a URL or a Service. Shared by admission webhooks and the conversion of custom resources.

use super::{json, named, port_with_words};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const FORM: &str = "; desired format: https://host[/path]";

/// The parts of a URL that matter here.
struct Url<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

fn split(url: &str) -> Url<'_> {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    Url { scheme, user, host, query, fragment }
}

pub fn url(errors: &mut Errors, path: &Path, text: &str) {
    let url = split(text);
    if url.scheme != "https" {
        errors.push(Error::invalid(path, url.scheme, format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if url.host.is_empty() {
        errors.push(Error::invalid(path, url.host, format!("host must be specified{FORM}")));
    }
    if let Some(user) = url.user {
        errors.push(Error::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !url.fragment.is_empty() {
        errors.push(Error::invalid(path, url.fragment, "fragments are not permitted in the URL"));
    }
    if !url.query.is_empty() {
        errors.push(Error::invalid(path, url.query, "query parameters are not permitted in the URL"));
    }
}

/// The versions of reviews that the webhook understands: at least one that the server can send. `missing` is what is
/// said where there is none.
pub fn review_versions(errors: &mut Errors, path: &Path, versions: &[String], missing: &str) {
    if versions.is_empty() {
        errors.push(Error::required(path, missing));
        return;
    }
    for (at, version) in versions.iter().enumerate() {
        let path = path.index(at);
        if versions[..at].contains(version) {
            errors.push(Error::invalid(&path, version.as_str(), "duplicate version"));
            continue;
        }
        named(errors, &path, version, names::dns1035_label(version));
    }
    if !versions.iter().any(|version| matches!(version.as_str(), "v1" | "v1beta1")) {
        errors.push(Error::invalid(path, json(&versions), "must include at least one of v1, v1beta1"));
    }
}

pub fn service(errors: &mut Errors, path: &Path, namespace: &str, name: &str, route: Option<&str>, port: i32) {
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), "service name is required"));
    }
    if namespace.is_empty() {
        errors.push(Error::required(&path.child("namespace"), "service namespace is required"));
    }
    port_with_words(errors, &path.child("port"), port);
    let path = path.child("path");
    let Some(route) = route.filter(|route| !matches!(*route, "" | "/")) else { return };
    let mut invalid = |detail: String| errors.push(Error::invalid(&path, route, detail));
    if route == "//" {
        invalid("segment[0] may not be empty".to_owned());
        return;
    }
    if !route.starts_with('/') {
        invalid("must start with a '/'".to_owned());
    }
    // Upstream looks at what follows the first character, whatever it is.
    let rest = route.get(1..).unwrap_or_default();
    for (at, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            invalid(format!("segment[{at}] may not be empty"));
            continue;
        }
        for problem in names::dns1123_subdomain(step) {
            invalid(format!("segment[{at}]: {problem}"));
        }
    }
}
