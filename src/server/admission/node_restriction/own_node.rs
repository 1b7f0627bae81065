//! A node writes its own Node, but neither its taints nor labels that others trust.

use k8s_openapi::api::core::v1::Node;

use super::{Asked, labels};
use crate::api::status::Result;
use crate::server::admission::Operation;

pub fn check(asked: &Asked<'_>) -> Result<()> {
    let node = asked.node;
    if asked.name() != node {
        let why = format!("node {node:?} is not allowed to modify node {:?}", asked.name());
        return Err(asked.forbidden(&why));
    }
    let Some(new) = asked.written::<Node>() else { return Ok(()) };
    let config = |node: &Node| node.spec.as_ref().and_then(|spec| spec.config_source.clone());
    match asked.operation() {
        Operation::Create => {
            if config(new).is_some() {
                let why = format!("node {node:?} is not allowed to create pods with a non-nil configSource");
                return Err(asked.forbidden(&why));
            }
            let refused = labels::forbidden(new.metadata.labels.as_ref(), None);
            if !refused.is_empty() {
                let refused = refused.join(", ");
                let why = format!("node {node:?} is not allowed to set the following labels: {refused}");
                return Err(asked.forbidden(&why));
            }
        }
        Operation::Update => {
            let Some(old) = asked.stored::<Node>() else { return Ok(()) };
            if config(new).is_some() && config(new) != config(old) {
                let why = format!("node {node:?} is not allowed to update configSource to a new non-nil configSource");
                return Err(asked.forbidden(&why));
            }
            let taints = |node: &Node| {
                let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone());
                taints.unwrap_or_default()
            };
            if taints(new) != taints(old) {
                return Err(asked.forbidden(&format!("node {node:?} is not allowed to modify taints")));
            }
            let refused = labels::forbidden(new.metadata.labels.as_ref(), old.metadata.labels.as_ref());
            if !refused.is_empty() {
                return Err(asked.forbidden(&format!("is not allowed to modify labels: {}", refused.join(", "))));
            }
        }
        Operation::Delete | Operation::Connect => {}
    }
    Ok(())
}
