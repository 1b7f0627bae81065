//! What a node's conditions and taints should be, from when it was last heard of. Pure.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};

use crate::reconcile::clock::time;

/// How long a node may be silent before nothing is known of it.
pub const GRACE: SignedDuration = SignedDuration::from_secs(40);
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that keep pods away while they are true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// Conditions that become unknown with the node.
const OBSERVED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind).map(|condition| condition.status.as_str())
}

pub fn is_ready(node: &Node) -> bool {
    condition(node, "Ready") == Some("True")
}

/// Whether its pods have to leave it, as far as they do not tolerate that.
pub fn evicts(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints
        .into_iter()
        .any(|taint| taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str()))
}

/// The conditions of a node not heard of for too long; `None` where they say so already.
pub fn silenced(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let before = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut after = before.clone();
    for kind in OBSERVED {
        match after.iter_mut().find(|condition| condition.type_ == kind) {
            None => after.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(time(now)),
            }),
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(time(now));
            }
            Some(_) => {}
        }
    }
    (after != before).then_some(after)
}

/// The node's taints; `None` where it has them already. `evict` is false while no node at all is ready: then the
/// fault is probably not the nodes', and nothing would be gained by moving pods.
pub fn taints(node: &Node, evict: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let before = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted(node, evict);
    let is_ours = |taint: &Taint| {
        let conditional = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
        let keeps_away =
            conditional || taint.key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, key)| *key == taint.key);
        match taint.effect.as_str() {
            "NoSchedule" => keeps_away,
            "NoExecute" => conditional,
            _ => false,
        }
    };
    let name = |taint: &Taint| (taint.key.clone(), taint.effect.clone());
    let mut after = before.clone();
    after.retain(|taint| !is_ours(taint) || wanted.contains(&name(taint)));
    let have: BTreeSet<_> = after.iter().map(name).collect();
    for (key, effect) in wanted.difference(&have) {
        after.push(Taint { key: key.clone(), effect: effect.clone(), value: None, time_added: Some(time(now)) });
    }
    (after != before).then_some(after)
}

fn wanted(node: &Node, evict: bool) -> BTreeSet<(String, String)> {
    let mut wanted = BTreeSet::new();
    let mut add = |key: &str, effect: &str| {
        wanted.insert((key.to_owned(), effect.to_owned()));
    };
    let why = match condition(node, "Ready") {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        Some(_) => Some(NOT_READY),
        // A node that has not said anything yet keeps the taint it came with.
        None => Some(NOT_READY),
    };
    if let Some(key) = why {
        add(key, "NoSchedule");
        if evict {
            add(key, "NoExecute");
        }
    }
    for (kind, key) in PRESSURES {
        if condition(node, kind) == Some("True") {
            add(key, "NoSchedule");
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        add(UNSCHEDULABLE, "NoSchedule");
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(conditions: &[(&str, &str)]) -> Node {
        let mut node = Node::default();
        let conditions = conditions.iter().map(|(kind, status)| NodeCondition {
            type_: (*kind).to_owned(),
            status: (*status).to_owned(),
            ..NodeCondition::default()
        });
        node.status.get_or_insert_default().conditions = Some(conditions.collect());
        node
    }

    fn keys(taints: Option<Vec<Taint>>) -> Option<Vec<String>> {
        taints.map(|taints| {
            taints
                .into_iter()
                .map(|taint| format!("{}:{}", taint.key.replace("node.kubernetes.io/", ""), taint.effect))
                .collect()
        })
    }

    #[test]
    fn taints_follow_conditions() {
        /// Conditions, whether to evict → taints, or `None` where nothing changes.
        type Case = (&'static [(&'static str, &'static str)], bool, Option<&'static [&'static str]>);
        let now = Timestamp::UNIX_EPOCH;
        let cases: [Case; 6] = [
            (&[("Ready", "True")], true, None),
            (&[("Ready", "False")], true, Some(&["not-ready:NoExecute", "not-ready:NoSchedule"])),
            (&[("Ready", "Unknown")], true, Some(&["unreachable:NoExecute", "unreachable:NoSchedule"])),
            (&[("Ready", "Unknown")], false, Some(&["unreachable:NoSchedule"])),
            (&[("Ready", "True"), ("DiskPressure", "True")], true, Some(&["disk-pressure:NoSchedule"])),
            (&[], false, Some(&["not-ready:NoSchedule"])),
        ];
        for (conditions, evict, expected) in cases {
            let expected = expected.map(|all| all.iter().map(|text| (*text).to_owned()).collect());
            assert_eq!(keys(taints(&node(conditions), evict, now)), expected, "{conditions:?}");
        }
    }

    #[test]
    fn recovery_takes_ours_away_and_leaves_others() {
        let mut node = node(&[("Ready", "True")]);
        let taint =
            |key: &str, effect: &str| Taint { key: key.to_owned(), effect: effect.to_owned(), ..Taint::default() };
        let spec = node.spec.get_or_insert_default();
        spec.taints = Some(vec![
            taint(UNREACHABLE, "NoExecute"),
            taint("dedicated", "NoSchedule"),
            taint(NOT_READY, "NoSchedule"),
        ]);
        assert_eq!(keys(taints(&node, true, Timestamp::UNIX_EPOCH)), Some(vec!["dedicated:NoSchedule".to_owned()]));
        node.spec.get_or_insert_default().unschedulable = Some(true);
        let after = taints(&node, true, Timestamp::UNIX_EPOCH);
        assert_eq!(keys(after), Some(vec!["dedicated:NoSchedule".to_owned(), "unschedulable:NoSchedule".to_owned()]));
    }

    #[test]
    fn silence_makes_conditions_unknown_once() {
        let mut node = node(&[("Ready", "True"), ("DiskPressure", "False"), ("Custom", "True")]);
        let after = silenced(&node, Timestamp::UNIX_EPOCH).expect("a change");
        let reasons: Vec<_> =
            after.iter().map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_deref())).collect();
        assert_eq!(
            reasons,
            [
                ("Ready", "Unknown", Some("NodeStatusUnknown")),
                ("DiskPressure", "Unknown", Some("NodeStatusUnknown")),
                ("Custom", "True", None),
                ("MemoryPressure", "Unknown", Some("NodeStatusNeverUpdated")),
                ("PIDPressure", "Unknown", Some("NodeStatusNeverUpdated")),
            ]
        );
        node.status.get_or_insert_default().conditions = Some(after);
        assert_eq!(silenced(&node, Timestamp::UNIX_EPOCH), None);
    }
}
