//! What a method and a path ask for: upstream's `RequestInfo`. Pure; knows no kinds.

use http::Method;

use crate::api::names;
use crate::api::selector::FieldSelector;
use crate::server::pipeline::query::Query;

/// A request, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub path: String,
    /// For resources the API verb, else the method in lower case.
    pub verb: String,
    pub is_resource: bool,
    /// The old way to watch: `/api/v1/watch/…`.
    pub watch_path: bool,
    /// `api` or `apis`.
    pub prefix: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// The one object that the field selector of a collection's request lets through.
    pub selected: String,
    /// The selectors of a request for a collection, as given.
    pub field_selector: String,
    pub label_selector: String,
    /// What follows the subresource: the path of a proxy.
    pub rest: Vec<String>,
}

impl RequestInfo {
    /// The name that authorizers look at: the path's, or the only one that is selected.
    pub fn target(&self) -> &str {
        if self.name.is_empty() { &self.selected } else { &self.name }
    }
}

/// `/namespaces/x/<these>` belong to the namespace itself.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Takes a request apart as upstream's `RequestInfoFactory` does.
pub fn request_info(method: &Method, path: &str, query: &Query) -> RequestInfo {
    let mut info =
        RequestInfo { path: path.to_owned(), verb: method.as_str().to_ascii_lowercase(), ..Default::default() };
    let mut parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    if parts.len() < 3 || !matches!(parts[0].as_str(), "api" | "apis") {
        return info;
    }
    info.prefix = parts.remove(0);
    if info.prefix == "apis" {
        if parts.len() < 3 {
            return info;
        }
        info.group = parts.remove(0);
    }
    info.version = parts.remove(0);
    info.is_resource = true;
    info.verb = match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
    .to_owned();
    // The old way to say watch=true.
    info.watch_path = parts[0] == "watch" && parts.len() > 1;
    if info.watch_path {
        parts.remove(0);
    }
    if parts[0] == "namespaces" && parts.len() > 1 {
        info.namespace.clone_from(&parts[1]);
        if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2].as_str()) {
            parts.drain(..2);
        }
    }
    let mut parts = parts.into_iter();
    info.resource = parts.next().unwrap_or_default();
    info.name = parts.next().unwrap_or_default();
    info.subresource = parts.next().unwrap_or_default();
    info.rest = parts.collect();
    settle_collection_verb(&mut info, query);
    info
}

/// Without a name, get means list or watch and delete means deletecollection.
fn settle_collection_verb(info: &mut RequestInfo, query: &Query) {
    let watch = query.flag("watch");
    match info.verb.as_str() {
        _ if info.watch_path => info.verb = "watch".to_owned(),
        "get" if info.name.is_empty() => {
            info.verb = if watch { "watch" } else { "list" }.to_owned();
        }
        "delete" if info.name.is_empty() => info.verb = "deletecollection".to_owned(),
        _ => {}
    }
    if !matches!(info.verb.as_str(), "list" | "watch" | "deletecollection") {
        return;
    }
    info.field_selector = query.get("fieldSelector").to_owned();
    info.label_selector = query.get("labelSelector").to_owned();
    if info.name.is_empty() && info.verb != "deletecollection" {
        let selector = FieldSelector::parse(&info.field_selector).unwrap_or_default();
        let name = selector.exact("metadata.name").filter(|name| names::path_segment_name(name).is_empty());
        info.selected = name.unwrap_or_default().to_owned();
    }
}

/// Undoes percent-encoding in one segment; what is not UTF-8 afterwards stays as it was.
fn decode(segment: &str) -> String {
    if !segment.contains('%') {
        return segment.to_owned();
    }
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_as_upstream_does() {
        // method, path, query → verb, group, version, namespace, resource, subresource, name
        let cases = [
            ("GET", "/api/v1/namespaces", "", "list|||v1||namespaces|||"),
            ("GET", "/api/v1/namespaces/a", "", "get|||v1|a|namespaces||a|"),
            ("PUT", "/api/v1/namespaces/a/finalize", "", "update|||v1|a|namespaces|finalize|a|"),
            ("GET", "/api/v1/namespaces/a/pods", "", "list|||v1|a|pods|||"),
            ("GET", "/api/v1/namespaces/a/pods/b", "watch=true", "get|||v1|a|pods||b|"),
            ("GET", "/api/v1/pods", "watch=1", "watch|||v1||pods|||"),
            ("GET", "/api/v1/pods", "watch=False&fieldSelector=metadata.name%3Dp", "list|||v1||pods|||"),
            ("GET", "/api/v1/pods", "fieldSelector=metadata.name!%3Dp,spec.nodeName%3Dn", "list|||v1||pods|||"),
            ("GET", "/api/v1/watch/namespaces/a/pods/p", "", "watch|||v1|a|pods||p|"),
            ("GET", "/api/v1/watch/namespaces/a/pods", "", "watch|||v1|a|pods|||"),
            ("POST", "/api/v1/namespaces/a/pods/b/exec", "", "create|||v1|a|pods|exec|b|"),
            ("DELETE", "/apis/apps/v1/namespaces/a/deployments", "", "deletecollection||apps|v1|a|deployments|||"),
            (
                "GET",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aadmin",
                "",
                "get||rbac.authorization.k8s.io|v1||clusterroles||system:admin|",
            ),
            ("GET", "/api/v1/nodes/n/proxy/a/b", "", "get|||v1||nodes|proxy|n|a,b"),
            ("GET", "/apis/apps/v1", "", "get||||||||"),
        ];
        for (method, path, query, expected) in cases {
            let info = request_info(&method.parse().unwrap(), path, &Query::parse(Some(query)));
            let RequestInfo { verb, group, version, namespace, resource, subresource, name, rest, .. } = info;
            let rest = rest.join(",");
            let text = format!("{verb}||{group}|{version}|{namespace}|{resource}|{subresource}|{name}|{rest}");
            assert_eq!(text, expected, "{method} {path}");
        }
    }
}
