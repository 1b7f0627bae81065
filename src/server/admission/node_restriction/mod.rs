//! NodeRestriction: what a node's credential may write, as far as the objects have to be seen for it. The
//! node authorizer has looked at the rest. Everybody else is let through.

mod labels;
mod own_node;
mod pods;
mod tokens;

use async_trait::async_trait;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::ResourceSlice;

use super::{Attributes, Operation, Plugin};
use crate::api::csr::{KUBELET_CLIENT, KUBELET_SERVING, SigningRequest};
use crate::api::gvk::GroupResource;
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::authorization::node::{Identity, LEASES, identify};

pub struct NodeRestriction;

/// One request of a node.
struct Asked<'a> {
    node: &'a str,
    attributes: &'a Attributes<'a>,
    /// None at a deletion.
    object: Option<&'a dyn Object>,
}

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        check(attributes, Some(object)).await
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        match attributes.operation {
            Operation::Delete => check(attributes, object).await,
            _ => Ok(()),
        }
    }
}

async fn check(attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
    let user = &attributes.context.user;
    let node = match identify(user) {
        Identity::NotANode => return Ok(()),
        Identity::Unknown => {
            let asked = Asked { node: "", attributes, object };
            return Err(asked.forbidden(&format!("could not determine node from user {:?}", user.name)));
        }
        Identity::Node(node) => node,
    };
    let asked = Asked { node, attributes, object };
    let meta = attributes.context.kind.meta();
    match (meta.group, meta.plural, attributes.context.subresource.as_str()) {
        ("", "pods", "") => pods::pod(&asked),
        ("", "pods", "status") => pods::status(&asked),
        ("", "pods", "eviction") => pods::eviction(&asked),
        ("", "pods", other) => {
            let why = format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed");
            Err(asked.forbidden(&why))
        }
        ("", "nodes", _) => own_node::check(&asked),
        ("", "persistentvolumeclaims", "status") => claim_status(&asked),
        ("", "persistentvolumeclaims", _) => Err(asked.forbidden("may only update PVC status")),
        ("", "serviceaccounts", "token") => tokens::check(&asked).await,
        ("coordination.k8s.io", "leases", _) => lease(&asked),
        ("storage.k8s.io", "csinodes", _) => {
            own_name(&asked, "can only access CSINode with the same name as the requesting node")
        }
        ("resource.k8s.io", "resourceslices", _) => slice(&asked),
        ("certificates.k8s.io", "certificatesigningrequests", _) => certificate(&asked),
        _ => Ok(()),
    }
}

impl Asked<'_> {
    fn operation(&self) -> Operation {
        self.attributes.operation
    }

    /// The name in the path, or at a creation the object's.
    fn name(&self) -> &str {
        match self.attributes.context.name.as_str() {
            "" => self.object_name(),
            name => name,
        }
    }

    fn object_name(&self) -> &str {
        self.object.map(|object| object.name()).unwrap_or_default()
    }

    fn written<K: 'static>(&self) -> Option<&K> {
        self.object.and_then(|object| object.downcast_ref())
    }

    fn stored<K: 'static>(&self) -> Option<&K> {
        self.attributes.old.and_then(|old| old.downcast_ref())
    }

    fn forbidden(&self, why: &str) -> Failure {
        self.attributes.forbidden(self.object, why)
    }

    /// A pod as it is stored now. Upstream asks its cache, which calls what is missing by the singular.
    fn stored_pod(&self, name: &str) -> Result<Pod> {
        let found = self.attributes.reader.get::<Pod>(&self.attributes.context.namespace, name)?;
        found.ok_or_else(|| Failure::not_found(GroupResource { group: "", resource: "pod" }, name))
    }
}

fn own_name(asked: &Asked<'_>, why: &str) -> Result<()> {
    let object = match asked.operation() {
        Operation::Create => asked.object_name(),
        _ => asked.name(),
    };
    if object == asked.node { Ok(()) } else { Err(asked.forbidden(why)) }
}

fn lease(asked: &Asked<'_>) -> Result<()> {
    if asked.attributes.context.namespace != LEASES {
        return Err(asked.forbidden(&format!("can only access leases in the {LEASES:?} system namespace")));
    }
    own_name(asked, "can only access node lease with the same name as the requesting node")
}

/// A node reports what its volumes have become, and changes nothing else.
fn claim_status(asked: &Asked<'_>) -> Result<()> {
    if asked.operation() != Operation::Update {
        return Err(asked.forbidden(&format!("unexpected operation {:?}", name_of(asked.operation()))));
    }
    let rest = |claim: Option<&PersistentVolumeClaim>| {
        let mut rest = claim.cloned().unwrap_or_default();
        rest.metadata.resource_version = None;
        rest.metadata.managed_fields = None;
        if let Some(status) = &mut rest.status {
            status.capacity = None;
            status.conditions = None;
            status.allocated_resources = None;
            status.allocated_resource_statuses = None;
        }
        rest
    };
    if rest(asked.written()) == rest(asked.stored()) {
        return Ok(());
    }
    let why = format!(
        "node {:?} is not allowed to update fields other than status.quantity and status.conditions",
        asked.node
    );
    Err(asked.forbidden(&why))
}

fn slice(asked: &Asked<'_>) -> Result<()> {
    let (slice, verb) = match asked.operation() {
        Operation::Create => (asked.written::<ResourceSlice>(), "create"),
        Operation::Delete => (asked.stored::<ResourceSlice>(), "delete"),
        _ => return Ok(()),
    };
    match slice.is_some_and(|slice| slice.spec.node_name.as_deref() == Some(asked.node)) {
        true => Ok(()),
        false => {
            let why = format!("can only {verb} ResourceSlice with the same NodeName as the requesting node");
            Err(asked.forbidden(&why))
        }
    }
}

/// A node asks for certificates of its own name only.
fn certificate(asked: &Asked<'_>) -> Result<()> {
    let Some(request) = asked.written::<CertificateSigningRequest>() else { return Ok(()) };
    let of_nodes = matches!(request.spec.signer_name.as_str(), KUBELET_SERVING | KUBELET_CLIENT);
    if asked.operation() != Operation::Create || !of_nodes {
        return Ok(());
    }
    let parsed = SigningRequest::parse(&request.spec.request.0)
        .map_err(|error| asked.forbidden(&format!("unable to parse csr: {error}")))?;
    let name = format!("system:node:{}", asked.node);
    match parsed.common_name == name {
        true => Ok(()),
        false => Err(asked.forbidden(&format!("can only create a node CSR with CN={name}"))),
    }
}

/// As upstream writes operations.
fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}
