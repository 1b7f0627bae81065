//! PodTopologyLabels: a pod learns in which zone and region its node is, where it is bound and where it is created with a
//! node already. A binding is no write of a Pod's own, and so not part of the chain: it calls [`add`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Attributes, Operation, Plugin};
use crate::api::names;
use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::pipeline::Reader;

pub struct PodTopologyLabels;

const COPIED: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        if !attributes.creates("", "pods") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() { Ok(()) } else { add(attributes.reader, node, &mut pod.metadata.labels) }
    }
}

/// The labels of the node that its pods get, whatever was `given` in their place.
pub fn add(reader: Reader<'_>, node: &str, given: &mut Option<BTreeMap<String, String>>) -> Result<()> {
    let labels = reader.get::<Node>("", node)?.and_then(|node| node.metadata.labels).unwrap_or_default();
    for key in COPIED {
        if let Some(value) = labels.get(key).filter(|value| names::label_value(value).is_empty()) {
            given.get_or_insert_default().insert(key.to_owned(), value.clone());
        }
    }
    Ok(())
}
