//! NodeResourcesFit: the node has what the pod requests; prefers the node with the most left (LeastAllocated).

use crate::server::scheduler::framework::{Filter, MAX_SCORE, Reason, Score, Wake};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodeResourcesFit;

impl Filter for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = Vec::new();
        if node.pods + 1 > node.max_pods {
            reasons.push("Too many pods".into());
        }
        let (asks, used, has) = (&pod.claim.requests, &node.requested, &node.allocatable);
        let amounts = [
            ("Insufficient cpu", asks.milli_cpu, used.milli_cpu, has.milli_cpu),
            ("Insufficient memory", asks.memory, used.memory, has.memory),
            ("Insufficient ephemeral-storage", asks.ephemeral_storage, used.ephemeral_storage, has.ephemeral_storage),
        ];
        for (reason, asked, used, has) in amounts {
            if asked > 0 && asked > has - used {
                reasons.push(reason.into());
            }
        }
        for (name, asked) in asks.others.iter().filter(|(_, asked)| **asked > 0) {
            let left = has.others.get(name).unwrap_or(&0) - used.others.get(name).unwrap_or(&0);
            if *asked > left {
                reasons.push(format!("Insufficient {name}").into());
            }
        }
        reasons
    }

    fn woken_by(&self, _wake: Wake) -> bool {
        true
    }
}

impl Score for NodeResourcesFit {
    fn weight(&self) -> i64 {
        1
    }

    /// The free share of cpu and memory after the pod is there, averaged.
    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let free = |asked: i64, used: i64, has: i64| match has {
            0 => 0,
            has => MAX_SCORE * (has - used - asked).max(0) / has,
        };
        let (estimate, used, has) = (pod.claim.estimate, node.estimated, &node.allocatable);
        (free(estimate.0, used.0, has.milli_cpu) + free(estimate.1, used.1, has.memory)) / 2
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{node, pod};
    use super::*;

    #[test]
    fn each_missing_resource_is_named() {
        let node = node(json!({"status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "1"}}}));
        let asks = |requests: serde_json::Value| {
            pod(json!({"containers": [{"name": "c", "resources": {"requests": requests}}]}))
        };
        let cases: [(serde_json::Value, &[&str]); 4] = [
            (json!({"cpu": "1", "memory": "1Gi"}), &[]),
            (json!({"cpu": "1001m"}), &["Insufficient cpu"]),
            (json!({"cpu": "2", "memory": "2Gi"}), &["Insufficient cpu", "Insufficient memory"]),
            (json!({"example.com/gpu": "1"}), &["Insufficient example.com/gpu"]),
        ];
        for (requests, reasons) in cases {
            assert_eq!(NodeResourcesFit.reject(&asks(requests.clone()), &node), reasons, "{requests}");
        }
        let mut full = node;
        full.pods = 1;
        assert_eq!(NodeResourcesFit.reject(&asks(json!({})), &full), ["Too many pods"]);
    }

    #[test]
    fn the_emptier_node_scores_higher() {
        let allocatable = json!({"status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"}}});
        let (empty, mut busy) = (node(allocatable.clone()), node(allocatable));
        busy.estimated = (2000, 1 << 30);
        let pod = pod(json!({"containers": [{"name": "c"}]}));
        assert!(NodeResourcesFit.score(&pod, &empty) > NodeResourcesFit.score(&pod, &busy));
    }
}
