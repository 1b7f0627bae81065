//! What each path of the API lets in before anybody looks at the object: methods (405 with `Allow`), media types of
//! patches (415) and media types of answers (406), checked in that order and worded as upstream's router does.
//!
//! Pure; called by `resource` once it knows the kind. Finer negotiation, of forms and streams, is `negotiate`'s.

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};

use super::body::Body;
use super::negotiate::{Format, PATCHES, READ, STREAMED};
use super::respond;
use super::route::RequestInfo;
use crate::api::status::{Failure, Result};
use crate::server::strategy::{Meta, Verb};

/// Subresources that are connections: whatever is asked for and sent, the other end answers for.
const CONNECTIONS: [&str; 4] = ["attach", "exec", "portforward", "proxy"];
/// A proxy passes on every method.
const PROXIED: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The methods that a path takes, in upstream's order; none where there is no such path.
pub(super) fn methods(info: &RequestInfo, meta: &Meta) -> Vec<&'static str> {
    if info.subresource.is_empty() {
        return of_resource(info, meta);
    }
    let found = meta.subresources.iter().find(|sub| sub.name == info.subresource);
    let Some(found) = found.filter(|sub| info.rest.is_empty() || sub.name == "proxy") else { return Vec::new() };
    if found.name == "proxy" {
        return PROXIED.to_vec();
    }
    let named = [("get", "GET"), ("create", "POST"), ("update", "PUT"), ("patch", "PATCH"), ("delete", "DELETE")];
    named.into_iter().filter(|(verb, _)| found.verbs.contains(verb)).map(|(_, method)| method).collect()
}

fn of_resource(info: &RequestInfo, meta: &Meta) -> Vec<&'static str> {
    let everywhere = meta.namespaced && info.namespace.is_empty();
    let of_collection = [(Verb::List, "GET"), (Verb::Create, "POST"), (Verb::DeleteCollection, "DELETE")];
    let of_object = [(Verb::Get, "GET"), (Verb::Update, "PUT"), (Verb::Patch, "PATCH"), (Verb::Delete, "DELETE")];
    let offered: &[(Verb, &'static str)] = match () {
        () if info.watch_path => &[(Verb::Watch, "GET")],
        // All namespaces at once can only be read.
        () if everywhere && info.name.is_empty() => &[(Verb::List, "GET")],
        () if info.name.is_empty() => &of_collection,
        () => &of_object,
    };
    offered.iter().filter(|(verb, _)| meta.verbs.contains(verb)).map(|(_, method)| *method).collect()
}

/// Lets the request in, or says what the path takes and gives.
///
/// # Errors
/// 404 where there is no such path, 415, 406; 405 is an answer of its own, for its header.
pub(super) fn check(
    info: &RequestInfo,
    meta: &Meta,
    method: &Method,
    headers: &HeaderMap,
    format: Format,
) -> Result<Option<Response<Body>>> {
    let methods = methods(info, meta);
    if methods.is_empty() {
        return Err(Failure::no_route());
    }
    if !methods.contains(&method.as_str()) {
        return Ok(Some(not_allowed(&methods, format)));
    }
    // Which a path may have without the verb: there are kinds that can be listed and not watched.
    if info.verb == "watch" && !meta.verbs.contains(&Verb::Watch) {
        return Err(Failure::method_not_supported(meta.resource(), "watch"));
    }
    if *method == Method::PATCH && !CONNECTIONS.contains(&info.subresource.as_str()) {
        let given = first(headers, &CONTENT_TYPE).unwrap_or_default();
        if !media(given).any(|media| PATCHES.contains(&media)) {
            return Err(Failure::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with_details());
        }
    }
    acceptable(info, method, headers).map(|()| None)
}

/// 405, with the methods that there are.
pub(super) fn not_allowed(methods: &[&str], format: Format) -> Response<Body> {
    let mut response = respond::failure(&Failure::method_not_allowed(), format);
    if let Ok(value) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// Every media type that a path can answer in, in two lists; `None` where that is for others to say.
fn produced(info: &RequestInfo, method: &Method) -> Option<[&'static [&'static str]; 2]> {
    match info.subresource.as_str() {
        sub if CONNECTIONS.contains(&sub) => None,
        "log" => Some([&["text/plain"], &READ]),
        "" if *method == Method::GET && (info.name.is_empty() || info.watch_path) => Some([&READ, &STREAMED]),
        _ => Some([&READ, &[]]),
    }
}

/// Upstream's router compares media types as they are written, so that `application/*` is none of them.
fn acceptable(info: &RequestInfo, method: &Method, headers: &HeaderMap) -> Result<()> {
    let Some(produced) = produced(info, method) else { return Ok(()) };
    let Some(wanted) = first(headers, &ACCEPT).filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    if media(wanted).any(|media| media == "*/*" || produced.iter().any(|list| list.contains(&media))) {
        return Ok(());
    }
    let message = format!("406: Not Acceptable\n\nAvailable representations: {}", produced.concat().join(", "));
    Err(Failure::new(406, "NotAcceptable", message).with_details())
}

fn first<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The media types of a header, without their parameters.
fn media(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').map(|one| one.split(';').next().unwrap_or_default().trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::super::route::request_info;
    use super::*;
    use crate::server::catalog::catalog;
    use crate::server::pipeline::query::Query;

    fn asked(method: &str, path: &str, query: &str, headers: &[(http::HeaderName, &str)]) -> String {
        let method: Method = method.parse().unwrap();
        let info = request_info(&method, path, &Query::parse(Some(query)));
        let kind = catalog().find(&info.group, &info.version, &info.resource).unwrap();
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        match check(&info, kind.meta(), &method, &headers, Format::Json) {
            Ok(None) => "ok".to_owned(),
            Ok(Some(response)) => response.headers()[ALLOW].to_str().unwrap().to_owned(),
            Err(failure) => format!("{} {}", failure.code(), failure.message()),
        }
    }

    #[test]
    fn a_path_takes_its_methods_and_names_them() {
        const NO_ROUTE: &str = "404 the server could not find the requested resource";
        for (method, path, expected) in [
            ("GET", "/api/v1/namespaces/a/pods", "ok"),
            ("PUT", "/api/v1/namespaces/a/pods", "GET, POST, DELETE"),
            ("HEAD", "/api/v1/namespaces/a/pods", "GET, POST, DELETE"),
            ("POST", "/api/v1/namespaces/a/pods/p", "GET, PUT, PATCH, DELETE"),
            ("POST", "/api/v1/pods", "GET"),
            ("DELETE", "/api/v1/nodes", "ok"),
            ("DELETE", "/api/v1/namespaces", "GET, POST"),
            ("POST", "/api/v1/watch/namespaces/a/pods", "GET"),
            ("GET", "/api/v1/namespaces/a/pods/p/binding", "POST"),
            ("PATCH", "/api/v1/namespaces/a/finalize", "PUT"),
            ("DELETE", "/apis/apps/v1/namespaces/a/deployments/d/scale", "GET, PUT, PATCH"),
            ("PUT", "/api/v1/namespaces/a/pods/p/exec", "GET, POST"),
            ("OPTIONS", "/api/v1/nodes/n/proxy/a/b", "ok"),
            ("TRACE", "/api/v1/nodes/n/proxy", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS"),
            ("GET", "/apis/authentication.k8s.io/v1/tokenreviews", "POST"),
            ("GET", "/apis/authentication.k8s.io/v1/tokenreviews/t", NO_ROUTE),
            ("POST", "/api/v1/bindings", NO_ROUTE),
            ("GET", "/api/v1/namespaces/a/pods/p/made-up", NO_ROUTE),
            ("GET", "/api/v1/namespaces/a/pods/p/status/more", NO_ROUTE),
        ] {
            assert_eq!(asked(method, path, "", &[]), expected, "{method} {path}");
        }
        let unwatched = "405 watch is not supported on resources of kind \"componentstatuses\"";
        assert_eq!(asked("GET", "/api/v1/componentstatuses", "watch=1", &[]), unwatched);
        assert_eq!(asked("GET", "/api/v1/watch/componentstatuses", "", &[]), NO_ROUTE);
    }

    #[test]
    fn media_types_are_compared_as_they_are_written() {
        const THREE: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        const STREAMS: &str = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let accept = |path: &str, media: &str| asked("GET", path, "", &[(ACCEPT, media)]);
        let none = |types: &str| format!("406 406: Not Acceptable\n\nAvailable representations: {types}");
        let pods = "/api/v1/namespaces/a/pods";
        for (path, media, expected) in [
            (pods, "image/png", none(&format!("{THREE}, {STREAMS}"))),
            (pods, "application/*", none(&format!("{THREE}, {STREAMS}"))),
            ("/api/v1/namespaces/a/pods/p", "text/html;q=0.9, image/png", none(THREE)),
            ("/api/v1/namespaces/a/pods/p/log", "image/png", none(&format!("text/plain, {THREE}"))),
            ("/api/v1/namespaces/a/pods/p/log", "text/plain", "ok".to_owned()),
            ("/api/v1/nodes/n/proxy", "image/png", "ok".to_owned()),
            (pods, "text/html, */*;q=0.1", "ok".to_owned()),
            // How the table should look is negotiated later.
            (pods, "application/json;as=Other", "ok".to_owned()),
        ] {
            assert_eq!(accept(path, media), expected, "{path} {media}");
        }
        let patch = |given: &str| asked("PATCH", "/api/v1/nodes/n", "", &[(CONTENT_TYPE, given)]);
        assert_eq!(patch("application/merge-patch+json; charset=utf-8"), "ok");
        assert_eq!(patch("application/json"), "415 415: Unsupported Media Type");
        assert_eq!(asked("PATCH", "/api/v1/nodes/n", "", &[]), "415 415: Unsupported Media Type");
    }
}
