//! One OpenAPI v3 document, and which there are: one for each group and version, and small ones for the
//! paths that lead there.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::operation::{Operation, PRODUCES, PathItem};
use super::paths::{self, Paths, group_id, tag};
use crate::server::discovery::{groups, kinds_of};

/// What `info.version` and `/version` say.
pub const VERSION: &str = "v1.36.0+orch";

/// What a document is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Root {
    /// `/version/`.
    Version,
    /// `/api/`, `/apis/`.
    Prefix(&'static str),
    /// `/apis/apps/`.
    Group(&'static str),
    /// `/api/v1/…`, `/apis/apps/v1/…`.
    Resources(&'static str, &'static str),
}

/// Every document there is, by the path under `/openapi/v3/`.
pub fn roots() -> Vec<(String, Root)> {
    let mut all = vec![
        ("version".to_owned(), Root::Version),
        ("api".to_owned(), Root::Prefix("api")),
        ("apis".to_owned(), Root::Prefix("apis")),
    ];
    for group in groups() {
        if !group.name.is_empty() {
            all.push((format!("apis/{}", group.name), Root::Group(group.name)));
        }
        for version in group.versions {
            let path = paths::root(group.name, version).trim_start_matches('/').to_owned();
            all.push((path, Root::Resources(group.name, version)));
        }
    }
    all
}

/// The document of one root.
pub fn v3(root: &Root) -> Value {
    let (paths, schemas) = describe(std::slice::from_ref(root));
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security()},
    })
}

/// Paths and types of several roots at once.
pub fn describe(roots: &[Root]) -> (Paths, Map<String, Value>) {
    let mut paths = Paths::new();
    let mut components = Components::new();
    for root in roots {
        add(root, &mut components, &mut paths);
    }
    (paths, components.finish())
}

/// How clients prove who they are.
pub fn security() -> Value {
    let bearer = json!({"description": "Bearer Token authentication", "in": "header", "name": "authorization", "type": "apiKey"});
    json!({"BearerToken": bearer})
}

fn add(root: &Root, components: &mut Components, paths: &mut Paths) {
    let (path, operation, tag, answer) = match root {
        Root::Version => {
            let operation =
                Operation::new("get", "getCodeVersion".into(), "get the version information for this server".into());
            ("/version/".to_owned(), operation, "version".to_owned(), components.version())
        }
        Root::Prefix("api") => {
            let operation = Operation::new("get", "getCoreAPIVersions".into(), "get available API versions".into());
            ("/api/".to_owned(), operation, "core".to_owned(), components.api_versions())
        }
        Root::Prefix(_) => {
            let operation = Operation::new("get", "getAPIVersions".into(), "get available API versions".into());
            ("/apis/".to_owned(), operation, "apis".to_owned(), components.api_group_list())
        }
        Root::Group(group) => {
            let id = format!("get{}APIGroup", group_id(group));
            let operation = Operation::new("get", id, "get information of a group".into());
            (format!("/apis/{group}/"), operation, tag(group, ""), components.api_group())
        }
        Root::Resources(group, version) => {
            let upper = version.replacen('v', "V", 1);
            let id = format!("get{}{upper}APIResources", group_id(group));
            for kind in kinds_of(group, version) {
                paths::describe(kind, components, paths);
            }
            let operation = Operation::new("get", id, "get available resources".into());
            let path = format!("{}/", paths::root(group, version));
            (path, operation, tag(group, version), components.api_resource_list())
        }
    };
    let mut item = PathItem::default();
    item.add(operation.tag(&tag).answers(&[200], PRODUCES, &answer));
    paths.extend(item.finish().map(|item| (path, item)));
}
