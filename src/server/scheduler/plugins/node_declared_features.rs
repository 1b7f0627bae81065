//! NodeDeclaredFeatures: a pod that asks for something new goes to nodes that say they can do it.

use crate::api::pod::{RESTARTS_ALL, restarts_all};
use crate::server::scheduler::framework::{Filter, Reason, Wake};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodeDeclaredFeatures;

impl Filter for NodeDeclaredFeatures {
    fn name(&self) -> &'static str {
        "NodeDeclaredFeatures"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        if !pod.spec().is_some_and(restarts_all) {
            return Vec::new();
        }
        let declared = node.node.status.as_ref().and_then(|status| status.declared_features.as_ref());
        match declared.is_some_and(|features| features.iter().any(|feature| feature == RESTARTS_ALL)) {
            true => Vec::new(),
            false => vec!["node(s) didn't match Pod's required features".into()],
        }
    }

    fn woken_by(&self, wake: Wake) -> bool {
        wake == Wake::Node
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::scheduler::plugins::testing::{node, pod};

    #[test]
    fn a_pod_that_restarts_as_a_whole_needs_a_node_that_can() {
        let rules = json!([{"action": "RestartAllContainers"}]);
        let whole = pod(json!({"containers": [{"name": "a", "restartPolicyRules": rules}]}));
        let able = node(json!({"status": {"declaredFeatures": [RESTARTS_ALL]}}));
        let unable = node(json!({}));
        assert!(NodeDeclaredFeatures.reject(&whole, &able).is_empty());
        assert_eq!(NodeDeclaredFeatures.reject(&whole, &unable).len(), 1);
        assert!(NodeDeclaredFeatures.reject(&pod(json!({})), &unable).is_empty());
    }
}
