//! PodTopologyLabels: a pod that is bound learns in which zone and region its node is. Called where pods are bound, which
//! is no write of a Pod's own and so not part of the chain.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;

use crate::api::names;
use crate::api::status::Result;
use crate::server::pipeline::Reader;

const COPIED: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// The labels of the node that its pods get, beside those in `given`.
pub fn add(reader: Reader<'_>, node: &str, given: &mut Option<BTreeMap<String, String>>) -> Result<()> {
    let labels = reader.get::<Node>("", node)?.and_then(|node| node.metadata.labels).unwrap_or_default();
    for key in COPIED {
        if let Some(value) = labels.get(key).filter(|value| names::label_value(value).is_empty()) {
            given.get_or_insert_default().entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    Ok(())
}
