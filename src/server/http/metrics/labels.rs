//! The labels of a request: upstream's, made of static text only, so that there are never more of them than
//! the catalog and a few lists allow.

use http::HeaderMap;
use prometheus_client::encoding::EncodeLabelSet;

use super::super::negotiate;
use super::super::route::RequestInfo;
use crate::api::tunnel;
use crate::server::catalog::catalog;
use crate::server::pipeline::query::Query;
use crate::server::strategy::Meta;

/// What a request asked for. What the catalog does not know has no name here.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Request {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
}

impl Default for Request {
    fn default() -> Self {
        let (verb, group, version, resource, subresource, scope) = Default::default();
        Self { verb, group, version, resource, subresource, scope, component: "apiserver" }
    }
}

/// The same, and whether it is only tried.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Tried {
    #[prometheus(flatten)]
    pub(super) request: Request,
    dry_run: &'static str,
}

impl Tried {
    pub fn of(info: &RequestInfo, query: &Query, headers: &HeaderMap) -> Self {
        let mut values = query.all("dryRun").peekable();
        let dry_run = match (values.peek().is_some(), values.all(|value| value == "All")) {
            (false, _) => "",
            (true, true) => "All",
            (true, false) => "invalid",
        };
        Self { request: Request::of(info, headers), dry_run }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Answered {
    #[prometheus(flatten)]
    pub tried: Tried,
    pub code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Terminated {
    #[prometheus(flatten)]
    pub request: Request,
    pub code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Deprecated {
    pub group: &'static str,
    pub version: &'static str,
    pub resource: &'static str,
    pub subresource: &'static str,
    /// The release without it, where that is known.
    pub removed_release: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Watched {
    pub group: &'static str,
    pub version: &'static str,
    pub resource: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Inflight {
    pub request_kind: &'static str,
}

/// A write to the store.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Stored {
    pub operation: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
}

/// Subresources that are sessions rather than objects.
const CONNECT: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Paths that are no resources, under which upstream counts their requests.
const PATHS: [&str; 8] = ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi", "/readyz", "/version"];

impl Request {
    pub fn of(info: &RequestInfo, headers: &HeaderMap) -> Self {
        if info.path == tunnel::PATH {
            return Self { verb: "CONNECT", subresource: tunnel::PATH, ..Self::default() };
        }
        if !info.is_resource {
            let under = |root: &&&str| {
                info.path.strip_prefix(**root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let subresource = PATHS.iter().find(under).copied().unwrap_or_default();
            return Self { verb: method(&info.verb), subresource, ..Self::default() };
        }
        let mut request = Self { verb: verb(info, headers), scope: scope(info), ..Self::default() };
        let Some(kind) = catalog().find(&info.group, &info.version, &info.resource) else { return request };
        let meta = kind.meta();
        (request.group, request.version, request.resource) = (meta.group, meta.version, meta.plural);
        if !info.subresource.is_empty() {
            let known = meta.subresources.iter().find(|sub| sub.name == info.subresource);
            request.subresource = known.map_or("other", |sub| sub.name);
        }
        request
    }

    /// The watches of a kind, whatever part of it they see.
    pub(super) fn watches(meta: &Meta) -> [Self; 3] {
        let (group, version, resource) = (meta.group, meta.version, meta.plural);
        let watch = Self { verb: "WATCH", group, version, resource, ..Self::default() };
        ["cluster", "namespace", "resource"].map(|scope| Self { scope, ..watch.clone() })
    }

    /// What its writes are counted under, where it asks for any.
    pub(super) fn stored(&self) -> Option<Stored> {
        let operation = match self.verb {
            "POST" if self.subresource.is_empty() => "create",
            "POST" | "PUT" | "PATCH" | "APPLY" => "update",
            "DELETE" | "DELETECOLLECTION" => "delete",
            _ => return None,
        };
        let Self { group, resource, .. } = self;
        (!resource.is_empty()).then_some(Stored { operation, group, resource })
    }

    /// It lasts as long as its client wants.
    pub fn is_long_running(&self) -> bool {
        matches!(self.verb, "WATCH" | "CONNECT")
    }

    pub fn is_read(&self) -> bool {
        matches!(self.verb, "GET" | "LIST")
    }

    pub fn is_mutating(&self) -> bool {
        !matches!(self.verb, "GET" | "LIST" | "WATCH")
    }
}

fn verb(info: &RequestInfo, headers: &HeaderMap) -> &'static str {
    if CONNECT.contains(&info.subresource.as_str()) {
        return "CONNECT";
    }
    match info.verb.as_str() {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" if negotiate::content_type(headers) == "application/apply-patch+yaml" => "APPLY",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "other",
    }
}

/// The verb of a path that is no resource.
fn method(method: &str) -> &'static str {
    match method {
        "get" | "head" => "GET",
        "post" => "POST",
        "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        _ => "other",
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    match (info.name.is_empty() && info.verb != "create", info.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::route::request_info;
    use super::*;

    fn labels(method: &str, path: &str, query: &str) -> String {
        let info = request_info(&method.parse().unwrap(), path, &Query::parse(Some(query)));
        let Request { verb, group, version, resource, subresource, scope, .. } = Request::of(&info, &HeaderMap::new());
        [verb, group, version, resource, subresource, scope].join("|")
    }

    #[test]
    fn requests_have_upstreams_labels() {
        for (method, path, query, expected) in [
            ("GET", "/api/v1/pods", "", "LIST||v1|pods||cluster"),
            ("GET", "/api/v1/namespaces/a/pods", "watch=1", "WATCH||v1|pods||namespace"),
            ("POST", "/apis/apps/v1/namespaces/a/deployments", "", "POST|apps|v1|deployments||resource"),
            ("PUT", "/api/v1/nodes/n/status", "", "PUT||v1|nodes|status|resource"),
            ("GET", "/api/v1/namespaces/a/pods/p/log", "", "CONNECT||v1|pods|log|resource"),
            ("GET", "/readyz/ping", "", "GET||||/readyz|"),
        ] {
            assert_eq!(labels(method, path, query), expected);
        }
    }

    #[test]
    fn what_is_only_tried_is_told_apart() {
        for (query, dry_run) in
            [("", ""), ("dryRun=All", "All"), ("dryRun=All&dryRun=All", "All"), ("dryRun=Some", "invalid")]
        {
            let query = Query::parse(Some(query));
            let info = request_info(&http::Method::POST, "/api/v1/namespaces", &query);
            assert_eq!(Tried::of(&info, &query, &HeaderMap::new()).dry_run, dry_run);
        }
    }

    #[test]
    fn what_a_client_made_up_is_no_label() {
        assert_eq!(labels("GET", "/api/v1/made-up", ""), "LIST|||||cluster");
        assert_eq!(labels("GET", "/api/v1/pods/p/made-up", ""), "GET||v1|pods|other|resource");
        assert_eq!(labels("BREW", "/made-up", ""), "other|||||");
    }
}
