//! The node authorizer: an agent's credential reads what its own pods use, and writes its own Node,
//! its status, its lease and its pods' status. What upstream's `plugin/pkg/auth/authorizer/node` says, in
//! its words, and that a node may open its tunnel; the admission plugin NodeRestriction looks at the rest, which needs the objects.

pub mod graph;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::PolicyRule;

use self::graph::{Graph, Kind, Vertex};
use super::follow::Follower;
use super::{Authorizer, Decision, Granted, policy, rules};
use crate::api::selector::FieldSelector;
use crate::api::tunnel;
use crate::server::http::route::RequestInfo;
use crate::server::pipeline::user::User;
use crate::store::Store;

const NODES: &str = "system:nodes";
const PREFIX: &str = "system:node:";
pub const LEASES: &str = "kube-node-lease";

/// Whose credential it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity<'a> {
    NotANode,
    /// Named as a node, but as none.
    Unknown,
    Node(&'a str),
}

/// Upstream's node identifier: the group says that it is a node, the name which.
pub fn identify(user: &User) -> Identity<'_> {
    match user.name.strip_prefix(PREFIX) {
        Some("") if user.in_group(NODES) => Identity::Unknown,
        Some(name) if user.in_group(NODES) => Identity::Node(name),
        _ => Identity::NotANode,
    }
}

pub struct NodeAuthorizer {
    graph: Follower<Graph>,
    /// What every node may do alike: the rules of `system:node`, as they are compiled in.
    uniform: Vec<PolicyRule>,
}

/// What is known without looking at the graph.
enum Answer {
    Yes,
    No(String),
    /// Where the node's pods lead to the object.
    IfReached(Vertex),
}

fn no(reason: &str) -> Answer {
    Answer::No(reason.to_owned())
}

impl NodeAuthorizer {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { graph: Follower::new(store), uniform: policy::node_rules() }
    }
}

#[async_trait]
impl Authorizer for NodeAuthorizer {
    async fn authorize(&self, user: &User, request: &RequestInfo) -> Decision {
        let node = match identify(user) {
            Identity::NotANode => return Decision::Deny(String::new()),
            Identity::Unknown => return Decision::Deny(format!("unknown node for user {:?}", user.name)),
            Identity::Node(name) => name,
        };
        match answer(node, request, &self.uniform) {
            Answer::Yes => Decision::Allow(String::new()),
            Answer::No(reason) => Decision::Deny(reason),
            Answer::IfReached(vertex) => match self.graph.ask(|graph| graph.reaches(node, &vertex)).await {
                Ok(true) => Decision::Allow(String::new()),
                _ => Decision::Deny(format!("no relationship found between node '{node}' and this object")),
            },
        }
    }

    async fn rules_for(&self, user: &User, _: &str) -> Granted {
        match identify(user) {
            Identity::NotANode => Granted::default(),
            _ => Granted {
                incomplete: true,
                errors: vec!["node authorizer does not support user rule resolution".to_owned()],
                ..Granted::default()
            },
        }
    }
}

/// Decides what can be decided by the request alone.
fn answer(node: &str, request: &RequestInfo, uniform: &[PolicyRule]) -> Answer {
    if request.is_resource {
        match (request.group.as_str(), request.resource.as_str()) {
            ("", "secrets") => return read_namespaced(Kind::Secret, request),
            ("", "configmaps") => return read_namespaced(Kind::ConfigMap, request),
            ("", "persistentvolumeclaims") if request.subresource == "status" => return update_status(request),
            ("", "persistentvolumeclaims") => return get(Kind::Claim, request),
            ("", "persistentvolumes") => return get(Kind::Volume, request),
            ("resource.k8s.io", "resourceclaims") => return get(Kind::ResourceClaim, request),
            ("storage.k8s.io", "volumeattachments") => return get(Kind::VolumeAttachment, request),
            ("", "serviceaccounts") => return service_account(request),
            ("coordination.k8s.io", "leases") => return lease(node, request),
            ("storage.k8s.io", "csinodes") => return csi_node(node, request),
            ("resource.k8s.io", "resourceslices") => return resource_slice(node, request),
            ("", "nodes") => return own_node(node, request),
            ("", "pods") => return pods(node, request),
            _ => {}
        }
    } else if (request.verb.as_str(), request.path.as_str()) == ("get", tunnel::PATH) {
        // Whose it is follows from who asks.
        return Answer::Yes;
    }
    match uniform.iter().any(|rule| rules::allows(rule, request)) {
        true => Answer::Yes,
        false => no(""),
    }
}

fn reached(kind: Kind, request: &RequestInfo) -> Answer {
    match request.target() {
        "" => no("No Object name found"),
        name => Answer::IfReached(Vertex::new(kind, &request.namespace, name)),
    }
}

fn read_namespaced(kind: Kind, request: &RequestInfo) -> Answer {
    if !matches!(request.verb.as_str(), "get" | "list" | "watch") {
        return no("can only read resources of this type");
    }
    if !request.subresource.is_empty() {
        return no("cannot read subresource");
    }
    if request.namespace.is_empty() {
        return no("can only read namespaced object of this type");
    }
    reached(kind, request)
}

fn get(kind: Kind, request: &RequestInfo) -> Answer {
    if request.verb != "get" {
        return no("can only get individual resources of this type");
    }
    if !request.subresource.is_empty() {
        return no("cannot get subresource");
    }
    reached(kind, request)
}

fn update_status(request: &RequestInfo) -> Answer {
    match request.verb.as_str() {
        "update" | "patch" => reached(Kind::Claim, request),
        _ => no("can only get/update/patch this type"),
    }
}

/// Tokens of the accounts of its pods; and, for credential providers, the accounts themselves.
fn service_account(request: &RequestInfo) -> Answer {
    if request.verb == "get" && request.subresource.is_empty() {
        return reached(Kind::ServiceAccount, request);
    }
    if request.verb != "create" || request.name.is_empty() {
        return no("can only create tokens for individual service accounts");
    }
    if request.subresource != "token" {
        return no("can only create token subresource of serviceaccount");
    }
    reached(Kind::ServiceAccount, request)
}

const OWN_VERBS: [&str; 5] = ["get", "create", "update", "patch", "delete"];

fn lease(node: &str, request: &RequestInfo) -> Answer {
    if !OWN_VERBS.contains(&request.verb.as_str()) {
        return no("can only get, create, update, patch, or delete a node lease");
    }
    if request.namespace != LEASES {
        return Answer::No(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // The name of a new one is for NodeRestriction to check.
    if request.verb != "create" && request.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    Answer::Yes
}

fn csi_node(node: &str, request: &RequestInfo) -> Answer {
    if !OWN_VERBS.contains(&request.verb.as_str()) {
        return no("can only get, create, update, patch, or delete a CSINode");
    }
    if !request.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if request.verb != "create" && request.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    Answer::Yes
}

fn resource_slice(node: &str, request: &RequestInfo) -> Answer {
    if !request.subresource.is_empty() {
        return no("cannot authorize ResourceSlice subresources");
    }
    match request.verb.as_str() {
        "create" => Answer::Yes,
        "get" | "update" | "patch" | "delete" => reached(Kind::ResourceSlice, request),
        "watch" | "list" | "deletecollection" if selects(request, "spec.nodeName", node) => Answer::Yes,
        "watch" | "list" | "deletecollection" => {
            no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        }
        _ => no(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
        ),
    }
}

/// Whether the request is limited to objects of the node by their own field.
fn selects(request: &RequestInfo, field: &str, node: &str) -> bool {
    FieldSelector::parse(&request.field_selector).is_ok_and(|selector| selector.exact(field) == Some(node))
}

fn own_node(node: &str, request: &RequestInfo) -> Answer {
    match (request.subresource.as_str(), request.verb.as_str()) {
        // That it writes its own is for NodeRestriction to check.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Answer::Yes,
        ("", "get" | "list" | "watch") => match request.target() {
            name if name == node => Answer::Yes,
            "" => Answer::No(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name => Answer::No(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => no(""),
    }
}

fn pods(node: &str, request: &RequestInfo) -> Answer {
    match (request.subresource.as_str(), request.verb.as_str()) {
        ("", "get") => get(Kind::Pod, request),
        ("", "list" | "watch") if selects(request, "spec.nodeName", node) => Answer::Yes,
        ("", "list" | "watch") if !request.target().is_empty() => reached(Kind::Pod, request),
        ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
        // That they are its own (or mirrors of its own) is for NodeRestriction to check.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Answer::Yes,
        _ => no(""),
    }
}

#[cfg(test)]
mod tests;
