//! TaintToleration: keeps pods off tainted nodes, and prefers nodes with fewer soft taints.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::server::scheduler::framework::{Filter, Reason, Score, Wake, spread};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct TaintToleration;

/// Whether any of the tolerations is for this taint (upstream's `ToleratesTaint`).
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| {
        let (effect, key) = (toleration.effect.as_deref().unwrap_or(""), toleration.key.as_deref().unwrap_or(""));
        let value = toleration.value.as_deref().unwrap_or("");
        let same_value = match toleration.operator.as_deref().unwrap_or("") {
            "" | "Equal" => value == taint.value.as_deref().unwrap_or(""),
            "Exists" => true,
            _ => false,
        };
        (effect.is_empty() || effect == taint.effect) && (key.is_empty() || key == taint.key) && same_value
    })
}

fn taints(node: &NodeInfo) -> &[Taint] {
    node.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn tolerations(pod: &PodInfo) -> &[Toleration] {
    pod.spec().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
}

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let hard = taints(node).iter().filter(|taint| taint.effect != "PreferNoSchedule");
        match hard.into_iter().all(|taint| tolerates(tolerations(pod), taint)) {
            true => Vec::new(),
            false => vec!["node(s) had untolerated taint(s)".into()],
        }
    }

    fn woken_by(&self, wake: Wake) -> bool {
        wake == Wake::Node
    }
}

impl Score for TaintToleration {
    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let soft = taints(node).iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let untolerated = soft.filter(|taint| !tolerates(tolerations(pod), taint)).count();
        i64::try_from(untolerated).unwrap_or(i64::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        spread(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{node, pod};
    use super::*;

    #[test]
    fn tolerations_match_taints() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoSchedule"});
        let cases: [(Value, bool); 7] = [
            (json!([]), false),
            (json!([{"operator": "Exists"}]), true),
            (json!([{"key": "k", "operator": "Exists"}]), true),
            (json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]), true),
            (json!([{"key": "k", "value": "w"}]), false),
            (json!([{"key": "k", "value": "v", "effect": "NoExecute"}]), false),
            (json!([{"key": "other", "operator": "Exists"}, {"key": "k", "value": "v"}]), true),
        ];
        for (tolerations, passes) in cases {
            let pod = pod(json!({"tolerations": tolerations}));
            let node = node(json!({"spec": {"taints": [taint]}}));
            assert_eq!(TaintToleration.reject(&pod, &node).is_empty(), passes, "{tolerations}");
        }
    }

    #[test]
    fn soft_taints_only_lower_the_score() {
        let pod = pod(json!({}));
        let node = node(json!({"spec": {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}}));
        assert!(TaintToleration.reject(&pod, &node).is_empty());
        assert_eq!(TaintToleration.score(&pod, &node), 1);
    }
}
