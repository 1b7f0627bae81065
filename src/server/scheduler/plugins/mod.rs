//! The registry of plugins, in the order they run. A new one is a file and a line.

mod node_affinity;
mod node_declared_features;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resources_balanced;
mod resources_fit;
mod taint_toleration;

use super::framework::Profile;

/// The default profile.
pub fn default_profile() -> Profile {
    Profile {
        filters: vec![
            Box::new(node_unschedulable::NodeUnschedulable),
            Box::new(node_name::NodeName),
            Box::new(taint_toleration::TaintToleration),
            Box::new(node_affinity::NodeAffinity),
            Box::new(node_ports::NodePorts),
            Box::new(resources_fit::NodeResourcesFit),
            Box::new(node_declared_features::NodeDeclaredFeatures),
        ],
        scores: vec![
            Box::new(taint_toleration::TaintToleration),
            Box::new(node_affinity::NodeAffinity),
            Box::new(resources_fit::NodeResourcesFit),
            Box::new(resources_balanced::NodeResourcesBalancedAllocation),
        ],
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Pods and nodes from a few words of JSON.

    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

    pub fn pod(spec: Value) -> PodInfo {
        let mut spec = spec;
        if spec["containers"].is_null() {
            spec["containers"] = json!([]);
        }
        PodInfo::new(Arc::new(serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": spec})).unwrap()))
    }

    pub fn node(object: Value) -> NodeInfo {
        NodeInfo::new(Arc::new(serde_json::from_value(object).unwrap()))
    }
}
