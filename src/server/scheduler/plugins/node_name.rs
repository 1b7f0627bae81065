//! NodeName: a pod that names its node goes nowhere else.

use crate::server::scheduler::framework::{Filter, Reason, Wake};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodeName;

impl Filter for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let wanted = pod.spec().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        match wanted.is_empty() || wanted == node.name() {
            true => Vec::new(),
            false => vec!["node(s) didn't match the requested node name".into()],
        }
    }

    fn woken_by(&self, wake: Wake) -> bool {
        wake == Wake::Node
    }
}
