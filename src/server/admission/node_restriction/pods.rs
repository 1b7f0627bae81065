//! Pods on the node: their status, their end, their eviction, and mirrors of static ones that name nothing else.

use k8s_openapi::api::core::v1::{Node, Pod, PodResourceClaimStatus};

use super::{Asked, name_of};
use crate::api::gvk::GroupResource;
use crate::api::references::{Kind, MIRROR, PodView};
use crate::api::status::{Failure, Result};
use crate::server::admission::Operation;

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

pub fn pod(asked: &Asked<'_>) -> Result<()> {
    let node = asked.node;
    match asked.operation() {
        Operation::Create => create(asked),
        Operation::Delete => match asked.stored::<Pod>().is_some_and(|pod| node_of(pod) == node) {
            true => Ok(()),
            false => {
                Err(asked.forbidden(&format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
            }
        },
        other => {
            let other = name_of(other);
            let why = format!("unexpected operation {other:?}, node {node:?} can only create and delete mirror pods");
            Err(asked.forbidden(&why))
        }
    }
}

fn create(asked: &Asked<'_>) -> Result<()> {
    let node = asked.node;
    let Some(pod) = asked.written::<Pod>() else { return Ok(()) };
    let refuse = |why: String| Err(asked.forbidden(&why));
    if !pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
        return refuse(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if node_of(pod) != node {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    owned_by_node(asked, pod)?;
    match names(pod)? {
        Some(what) => refuse(format!("node {node:?} can not create pods that reference {what}")),
        None => Ok(()),
    }
}

/// Its only owner is the node, which does not wait for it.
fn owned_by_node(asked: &Asked<'_>, pod: &Pod) -> Result<()> {
    let node = asked.node;
    let refuse = |why: String| Err(asked.forbidden(&why));
    let owner = match pod.metadata.owner_references.as_deref().unwrap_or_default() {
        [owner] => owner,
        [] => return refuse(format!("node {node:?} can only create pods with an owner reference set to itself")),
        _ => return refuse(format!("node {node:?} can only create pods with a single owner reference set to itself")),
    };
    if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node {
        return refuse(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if owner.controller != Some(true) {
        return refuse(format!("node {node:?} can only create pods with a controller owner reference set to itself"));
    }
    if owner.block_owner_deletion == Some(true) {
        return refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let missing = || Failure::not_found(GroupResource { group: "", resource: "node" }, node);
    let stored = asked.attributes.reader.get::<Node>("", node)?.ok_or_else(missing)?;
    let uid = stored.metadata.uid.unwrap_or_default();
    match owner.uid == uid {
        true => Ok(()),
        false => refuse(format!("node {node} UID mismatch: expected {} got {uid}", owner.uid)),
    }
}

/// What the pod names that a node could read through it.
fn names(pod: &Pod) -> Result<Option<&'static str>> {
    let view = PodView::of(pod).map_err(Failure::internal)?;
    let names = |kind: Kind| view.names(kind);
    let trusts = || {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mut sources =
            volumes.filter_map(|volume| volume.projected.as_ref()).flat_map(|own| own.sources.iter().flatten());
        sources.any(|source| source.cluster_trust_bundle.is_some())
    };
    Ok(if names(Kind::ServiceAccount) {
        Some("serviceaccounts")
    } else if names(Kind::Secret) {
        Some("secrets")
    } else if names(Kind::ConfigMap) {
        Some("configmaps")
    } else if trusts() {
        Some("clustertrustbundles")
    } else if names(Kind::Claim) {
        Some("persistentvolumeclaims")
    } else {
        let claims = pod.spec.as_ref().and_then(|spec| spec.resource_claims.as_ref());
        claims.filter(|claims| !claims.is_empty()).map(|_| "resourceclaims")
    })
}

pub fn status(asked: &Asked<'_>) -> Result<()> {
    let node = asked.node;
    if asked.operation() != Operation::Update {
        return Err(asked.forbidden(&format!("unexpected operation {:?}", name_of(asked.operation()))));
    }
    let (Some(old), Some(new)) = (asked.stored::<Pod>(), asked.written::<Pod>()) else { return Ok(()) };
    if node_of(old) != node {
        let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
        return Err(asked.forbidden(&why));
    }
    if old.metadata.labels.clone().unwrap_or_default() != new.metadata.labels.clone().unwrap_or_default() {
        return Err(asked.forbidden(&format!("node {node:?} cannot update labels through pod status")));
    }
    if claims(old) != claims(new) {
        return Err(asked.forbidden(&format!("node {node:?} cannot update resource claim statues")));
    }
    Ok(())
}

fn claims(pod: &Pod) -> &[PodResourceClaimStatus] {
    let status = pod.status.as_ref();
    status.and_then(|status| status.resource_claim_statuses.as_deref()).unwrap_or_default()
}

pub fn eviction(asked: &Asked<'_>) -> Result<()> {
    if asked.operation() != Operation::Create {
        return Err(asked.forbidden(&format!("unexpected operation {}", name_of(asked.operation()))));
    }
    let pod = asked.stored_pod(asked.name())?;
    match node_of(&pod) == asked.node {
        true => Ok(()),
        false => {
            let why = format!("node {} can only evict pods with spec.nodeName set to itself", asked.node);
            Err(asked.forbidden(&why))
        }
    }
}
