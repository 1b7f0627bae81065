//! NodeAffinity: `nodeSelector`, required node affinity as a filter, preferred node affinity as a score.

use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelectorRequirement, NodeSelectorTerm};

use crate::api::selector::{Labels, Operator, Requirement};
use crate::server::scheduler::framework::{Filter, Reason, Score, Wake, spread};
use crate::server::scheduler::snapshot::{NodeInfo, PodInfo};

pub struct NodeAffinity;

fn affinity(pod: &PodInfo) -> Option<&Affinity> {
    pod.spec()?.affinity.as_ref()?.node_affinity.as_ref()
}

/// All expressions and fields of the term hold; an empty term matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let none = Labels::new();
    let labels = node.node.metadata.labels.as_ref().unwrap_or(&none);
    let name = Labels::from([("metadata.name".to_owned(), node.name().to_owned())]);
    expressions.iter().all(|e| holds(e, labels)) && fields.iter().all(|f| holds(f, &name))
}

/// A requirement that cannot be understood matches nothing; validation keeps such out.
fn holds(requirement: &NodeSelectorRequirement, labels: &Labels) -> bool {
    let operator = match requirement.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return false,
    };
    let values = requirement.values.iter().flatten().cloned().collect();
    Requirement::new(&requirement.key, operator, values).is_ok_and(|requirement| requirement.matches(labels))
}

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let label = |key: &String| node.node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
        let selector = pod.spec().and_then(|spec| spec.node_selector.as_ref());
        let selected = selector.into_iter().flatten().all(|(key, value)| label(key) == Some(value));
        let required = affinity(pod).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        let matched = required.is_none_or(|r| r.node_selector_terms.iter().any(|term| term_matches(term, node)));
        match selected && matched {
            true => Vec::new(),
            false => vec!["node(s) didn't match Pod's node affinity/selector".into()],
        }
    }

    fn woken_by(&self, wake: Wake) -> bool {
        wake == Wake::Node
    }
}

impl Score for NodeAffinity {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let preferred = affinity(pod).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
        let matching = preferred.unwrap_or_default().iter().filter(|term| term_matches(&term.preference, node));
        matching.map(|term| i64::from(term.weight)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        spread(scores, false);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{node, pod};
    use super::*;

    fn required(terms: Value) -> Value {
        let selector = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}})
    }

    #[test]
    fn selectors_and_terms() {
        let node = node(json!({"metadata": {"name": "n1", "labels": {"zone": "a", "cores": "8"}}}));
        let expression = |key: &str, operator: &str, values: &[&str]| {
            required(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
        };
        let cases = [
            (json!({"nodeSelector": {"zone": "a"}}), true),
            (json!({"nodeSelector": {"zone": "b"}}), false),
            (expression("zone", "In", &["a", "b"]), true),
            (expression("zone", "NotIn", &["a"]), false),
            (expression("disk", "NotIn", &["hdd"]), true),
            (expression("disk", "Exists", &[]), false),
            (expression("cores", "Gt", &["4"]), true),
            (expression("cores", "Lt", &["4"]), false),
            (required(json!([{}])), false),
            (
                required(json!([{}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}])),
                true,
            ),
        ];
        for (spec, passes) in cases {
            assert_eq!(NodeAffinity.reject(&pod(spec.clone()), &node).is_empty(), passes, "{spec}");
        }
    }

    #[test]
    fn preferences_add_up() {
        let node = node(json!({"metadata": {"name": "n1", "labels": {"zone": "a"}}}));
        let term = |weight: i32, zone: &str| json!({"weight": weight, "preference": {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}});
        let preferred = json!([term(3, "a"), term(5, "b"), term(4, "a")]);
        let spec =
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}});
        assert_eq!(NodeAffinity.score(&pod(spec), &node), 7);
    }
}
