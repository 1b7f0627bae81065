//! NodeResourcesBalancedAllocation: prefers nodes on which cpu and memory are used in equal shares.

use crate::server::scheduler::framework::{MAX_SCORE, Score};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodeResourcesBalancedAllocation;

impl Score for NodeResourcesBalancedAllocation {
    fn weight(&self) -> i64 {
        1
    }

    /// One less the standard deviation of the two shares, which for two values is half their distance.
    /// Thousandths in whole numbers: scores must not depend on rounding of floats.
    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let share = |used: i64, has: i64| if has == 0 { 1000 } else { (1000 * used / has).min(1000) };
        let cpu = share(node.requested.milli_cpu + pod.claim.requests.milli_cpu, node.allocatable.milli_cpu);
        let memory = share(node.requested.memory + pod.claim.requests.memory, node.allocatable.memory);
        (1000 - (cpu - memory).abs() / 2) * MAX_SCORE / 1000
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{node, pod};
    use super::*;

    #[test]
    fn balance_scores_higher() {
        let node = node(json!({"status": {"allocatable": {"cpu": "4", "memory": "4Gi"}}}));
        let asks = |cpu: &str, memory: &str| {
            pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}))
        };
        assert_eq!(NodeResourcesBalancedAllocation.score(&asks("2", "2Gi"), &node), 100);
        assert_eq!(NodeResourcesBalancedAllocation.score(&asks("4", "0"), &node), 50);
    }
}
