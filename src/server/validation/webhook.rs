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

/// Reads a URL as Go does, with Go's words where it cannot.
fn split(url: &str) -> Result<Url<'_>, String> {
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    if rest.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let (scheme, rest) = scheme(rest)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let nowhere = Url { scheme, user: None, host: "", query, fragment };
    if !rest.starts_with('/') && !scheme.is_empty() {
        return Ok(nowhere);
    }
    if !rest.starts_with('/') && rest.split('/').next().is_some_and(|step| step.contains(':')) {
        return Err("first path segment in URL cannot contain colon".to_owned());
    }
    let is_absolute = !scheme.is_empty() || !rest.starts_with("///");
    let Some(rest) = rest.strip_prefix("//").filter(|_| is_absolute) else {
        escapes(rest)?;
        return Ok(nowhere);
    };
    let (authority, route) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    host_name(host)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if user.is_some_and(|user| !user.bytes().all(plain)) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    escapes(user.unwrap_or_default())?;
    escapes(route)?;
    Ok(Url { user, host, ..nowhere })
}

fn scheme(url: &str) -> Result<(&str, &str), String> {
    let end = url.bytes().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(&byte));
    match end.map(|end| url.split_at(end)) {
        Some(("", rest)) if rest.starts_with(':') => Err("missing protocol scheme".to_owned()),
        Some((scheme, rest)) if rest.starts_with(':') && scheme.as_bytes()[0].is_ascii_alphabetic() => {
            Ok((scheme, &rest[1..]))
        }
        _ => Ok(("", url)),
    }
}

fn host_name(host: &str) -> Result<(), String> {
    let port = match (host.starts_with('['), host.rfind(']'), host.rfind(':')) {
        (true, None, _) => return Err("missing ']' in host".to_owned()),
        (true, Some(end), _) => &host[end + 1..],
        (false, _, Some(colon)) => &host[colon..],
        (false, _, None) => "",
    };
    let is_number = port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    if !port.is_empty() && !is_number {
        return Err(format!("invalid port {port:?} after host"));
    }
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte);
    match host.chars().find(|letter| letter.is_ascii() && !fits(*letter as u8)) {
        Some(letter) => Err(format!("invalid character {:?} in host name", letter.to_string())),
        None => escapes(host),
    }
}

/// Whether every `%` begins the number of a byte.
fn escapes(text: &str) -> Result<(), String> {
    let is_number = |part: &str| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    match text.split('%').skip(1).find(|part| !is_number(part)) {
        Some(part) => Err(format!("invalid URL escape {:?}", format!("%{}", part.chars().take(2).collect::<String>()))),
        None => Ok(()),
    }
}

pub fn url(errors: &mut Errors, path: &Path, text: &str) {
    let url = match split(text) {
        Ok(url) => url,
        Err(problem) => {
            let read = text.split('#').next().unwrap_or_default();
            let detail = format!("url must be a valid URL: parse {read:?}: {problem}{FORM}");
            errors.push(Error::required(path, detail));
            return;
        }
    };
    if !url.scheme.eq_ignore_ascii_case("https") {
        let scheme = url.scheme.to_ascii_lowercase();
        errors.push(Error::invalid(path, scheme, format!("'https' is the only allowed URL scheme{FORM}")));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_go_reads_them() {
        let refused = |problem: &str| format!("f: Required value: url must be a valid URL: parse {problem}{FORM}");
        let cases = [
            ("https://a.b/c", String::new()),
            ("HTTPS://[::1]:80/x", String::new()),
            ("https://a:b", refused("\"https://a:b\": invalid port \":b\" after host")),
            ("https://a b", refused("\"https://a b\": invalid character \" \" in host name")),
            ("https://[::1", refused("\"https://[::1\": missing ']' in host")),
            ("https://a/%zz#b", refused("\"https://a/%zz\": invalid URL escape \"%zz\"")),
            (":a", refused("\":a\": missing protocol scheme")),
            ("1:a", refused("\"1:a\": first path segment in URL cannot contain colon")),
            ("https://a/\n", refused("\"https://a/\\n\": net/url: invalid control character in URL")),
            ("https://u@a", "f: Invalid value: \"u\": user information is not permitted in the URL".to_owned()),
            ("https:a", format!("f: Invalid value: \"\": host must be specified{FORM}")),
        ];
        for (text, expected) in cases {
            let mut errors = Errors::new();
            url(&mut errors, &Path::new("f"), text);
            assert_eq!(super::super::lines(&errors).join("; "), expected, "{text}");
        }
    }
}
