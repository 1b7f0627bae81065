//! What a plugin is, and how one pod's node is found with them: filter, score, pick. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::snapshot::{NodeInfo, PodInfo, Snapshot};

/// The highest score of one plugin, as upstream.
pub const MAX_SCORE: i64 = 100;

/// Below so many nodes every one is looked at; above, a share that shrinks as upstream's does.
const MIN_FEASIBLE: usize = 100;

/// Why a node cannot take a pod, in upstream's words, such as `Insufficient cpu`.
pub type Reason = Cow<'static, str>;

/// What happened in the cluster that may let a waiting pod be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wake {
    /// A node came, or its labels, taints or resources changed.
    Node,
    /// A placed pod ended or shrank: room and ports may be free.
    PodGone,
}

/// Decides whether a node can take a pod.
pub trait Filter: Send + Sync {
    fn name(&self) -> &'static str;
    /// Every reason against the node; none where it can.
    fn reject(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason>;
    /// Whether such an event may turn a rejection into an acceptance.
    fn woken_by(&self, wake: Wake) -> bool;
}

/// Says how much it likes a node for a pod.
pub trait Score: Send + Sync {
    fn weight(&self) -> i64;
    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64;
    /// Brings the scores of all candidates into `0..=MAX_SCORE`.
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// Scales scores so that the highest becomes [`MAX_SCORE`]; with `reverse` the highest becomes 0.
pub fn spread(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { MAX_SCORE * *score / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}

/// Which plugins there are, in order.
pub struct Profile {
    pub filters: Vec<Box<dyn Filter>>,
    pub scores: Vec<Box<dyn Score>>,
}

/// Where a pod goes, or why nowhere.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    Place(String),
    Unschedulable {
        message: String,
        /// The filters that rejected some node: what would wake the pod.
        by: Vec<&'static str>,
    },
}

/// Finds a node. `start` is where looking begins, so that a large cluster is filled evenly; it is moved on. `done` hears
/// of each step that is over, by upstream's name of it.
pub fn decide(
    profile: &Profile,
    snapshot: &Snapshot,
    pod: &PodInfo,
    start: &mut usize,
    mut done: impl FnMut(&'static str),
) -> Decision {
    let nodes = snapshot.nodes();
    if nodes.is_empty() {
        return Decision::Unschedulable {
            message: "no nodes available to schedule pods".to_owned(),
            by: vec!["NodeName"],
        };
    }
    let wanted = feasible_wanted(nodes.len());
    let (mut candidates, mut reasons, mut by) = (Vec::new(), BTreeMap::<Reason, usize>::new(), Vec::new());
    let mut looked = 0;
    for offset in 0..nodes.len() {
        let node = &nodes[(*start + offset) % nodes.len()];
        looked += 1;
        match profile.filters.iter().map(|filter| (filter, filter.reject(pod, node))).find(|(_, why)| !why.is_empty()) {
            None => candidates.push(node),
            Some((filter, why)) => {
                if !by.contains(&filter.name()) {
                    by.push(filter.name());
                }
                for reason in why {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
        if candidates.len() >= wanted {
            break;
        }
    }
    *start = (*start + looked) % nodes.len();
    done("Filter");
    match candidates.as_slice() {
        [] => Decision::Unschedulable { message: message(nodes.len(), &reasons), by },
        [only] => Decision::Place(only.name().to_owned()),
        several => {
            let best = best(profile, pod, several);
            done("Score");
            Decision::Place(best.name().to_owned())
        }
    }
}

/// How many feasible nodes are enough to choose from: upstream's adaptive percentage.
fn feasible_wanted(nodes: usize) -> usize {
    let percentage = 50usize.saturating_sub(nodes / 125).max(5);
    if nodes < MIN_FEASIBLE { nodes } else { (nodes * percentage / 100).max(MIN_FEASIBLE) }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
fn message(nodes: usize, reasons: &BTreeMap<Reason, usize>) -> String {
    let mut parts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}

/// The node with the highest weighted sum; among equals one that the pod's UID picks.
fn best<'a>(profile: &Profile, pod: &PodInfo, nodes: &[&'a NodeInfo]) -> &'a NodeInfo {
    let mut totals = vec![0; nodes.len()];
    for plugin in &profile.scores {
        let mut scores: Vec<i64> = nodes.iter().map(|node| plugin.score(pod, node)).collect();
        plugin.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += plugin.weight() * score;
        }
    }
    let highest = totals.iter().copied().max().unwrap_or(0);
    let tied: Vec<_> =
        nodes.iter().zip(&totals).filter(|(_, total)| **total == highest).map(|(node, _)| *node).collect();
    let seed = pod.uid().bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    tied[seed % tied.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_clusters_are_sampled() {
        assert_eq!(feasible_wanted(50), 50);
        assert_eq!(feasible_wanted(100), 100);
        assert_eq!(feasible_wanted(1000), 420);
        assert_eq!(feasible_wanted(5000), 500);
        assert_eq!(feasible_wanted(10000), 500);
    }

    #[test]
    fn scores_spread() {
        let mut scores = [0, 5, 10];
        spread(&mut scores, false);
        assert_eq!(scores, [0, 50, 100]);
        let mut scores = [0, 5, 10];
        spread(&mut scores, true);
        assert_eq!(scores, [100, 50, 0]);
        let mut none = [0, 0];
        spread(&mut none, true);
        assert_eq!(none, [100, 100]);
    }

    #[test]
    fn the_message_is_upstreams() {
        let reasons = [("node(s) were unschedulable".into(), 2), ("Insufficient cpu".into(), 1)].into();
        let text = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.";
        assert_eq!(message(3, &reasons), text);
    }
}
