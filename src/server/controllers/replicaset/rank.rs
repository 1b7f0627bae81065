//! Which pods go first when there are too many: upstream's order (`getPodsToDelete`).
//!
//! Unassigned before assigned, pending before unknown before running, not ready before ready, lower
//! deletion cost, more pods of the same owner on the node, ready for a shorter time, more
//! restarts, younger. Times are compared by their order of magnitude, so that pods of about the same age go at random.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::server::controllers::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The first `count` pods to delete. `related` are the pods of all siblings, this owner's included.
pub fn to_delete(mut pods: Vec<Arc<Pod>>, related: &[Arc<Pod>], count: usize, now: Timestamp) -> Vec<Arc<Pod>> {
    if count < pods.len() {
        let mut on_node: HashMap<&str, usize> = HashMap::new();
        for pod in related.iter().filter(|pod| pods::is_active(pod)) {
            *on_node.entry(node(pod)).or_default() += 1;
        }
        pods.sort_by(|a, b| order(a, b, &on_node, now));
        pods.truncate(count);
    }
    pods
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn order(a: &Pod, b: &Pod, on_node: &HashMap<&str, usize>, now: Timestamp) -> Ordering {
    let crowd = |pod| Reverse(on_node.get(node(pod)).copied().unwrap_or(0));
    node(b)
        .is_empty()
        .cmp(&node(a).is_empty())
        .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| crowd(a).cmp(&crowd(b)))
        .then_with(|| match pods::is_ready(a) && pods::is_ready(b) {
            true => age_order(a, b, pods::ready_since(a), pods::ready_since(b), now),
            false => Ordering::Equal,
        })
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| age_order(a, b, created(a), created(b), now))
}

fn phase_rank(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        "Running" => 2,
        // Upstream's map gives what it does not know the rank of Pending.
        _ => 0,
    }
}

fn cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(DELETION_COST)).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// The most restarts of regular containers, then of sidecars.
fn restarts(pod: &Pod) -> (i32, i32) {
    let status = pod.status.as_ref();
    let regular = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    let regular = regular.map(|s| s.restart_count).max().unwrap_or(0);
    let is_sidecar = |name: &str| {
        let init = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
        init.filter(|c| c.restart_policy.as_deref() == Some("Always")).any(|c| c.name == name)
    };
    let sidecars = status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten();
    let sidecars = sidecars.filter(|s| is_sidecar(&s.name)).map(|s| s.restart_count).max().unwrap_or(0);
    (regular, sidecars)
}

/// The younger first, on a scale of powers of two; equal magnitudes by UID. An unknown time is the youngest.
fn age_order(a: &Pod, b: &Pod, at: Option<Timestamp>, bt: Option<Timestamp>, now: Timestamp) -> Ordering {
    match (at, bt) {
        (Some(at), Some(bt)) if at != bt => {
            magnitude(at, now).cmp(&magnitude(bt, now)).then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
        }
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

fn magnitude(at: Timestamp, now: Timestamp) -> i32 {
    let age = now.duration_since(at).as_nanos();
    u128::try_from(age).ok().and_then(u128::checked_ilog2).map_or(-1, |log| i32::try_from(log).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("valid"))
    }

    /// A running, ready pod on node `n`, created at 1 and ready at 2.
    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(name.to_owned());
        pod.metadata.creation_timestamp = Some(at(1));
        pod.spec = Some(PodSpec { node_name: Some("n".to_owned()), ..PodSpec::default() });
        let ready = PodCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(at(2)),
            ..PodCondition::default()
        };
        let restarts = ContainerStatus { name: "c".to_owned(), ..ContainerStatus::default() };
        pod.status = Some(PodStatus {
            phase: Some("Running".to_owned()),
            conditions: Some(vec![ready]),
            container_statuses: Some(vec![restarts]),
            ..PodStatus::default()
        });
        pod
    }

    fn with(name: &str, change: impl Fn(&mut Pod)) -> Arc<Pod> {
        let mut pod = pod(name);
        change(&mut pod);
        Arc::new(pod)
    }

    fn status(pod: &mut Pod) -> &mut PodStatus {
        pod.status.as_mut().expect("set above")
    }

    fn set_ready(pod: &mut Pod, ready: bool, since: i64) {
        let conditions = status(pod).conditions.as_mut().expect("set above");
        conditions[0].status = if ready { "True" } else { "False" }.to_owned();
        conditions[0].last_transition_time = Some(at(since));
    }

    /// Each pod goes before all after it, for one reason each.
    #[test]
    fn the_order_is_upstreams() {
        let pods = vec![
            with("unassigned", |p| p.spec.as_mut().expect("set").node_name = None),
            with("pending", |p| status(p).phase = Some("Pending".to_owned())),
            with("unknown", |p| status(p).phase = Some("Unknown".to_owned())),
            with("not-ready", |p| set_ready(p, false, 2)),
            with("cheap", |p| {
                p.metadata.annotations = Some([(DELETION_COST.to_owned(), "-5".to_owned())].into());
            }),
            with("crowded", |p| p.spec.as_mut().expect("set").node_name = Some("crowded".to_owned())),
            with("just-ready", |p| set_ready(p, true, 990)),
            with("restarted", |p| status(p).container_statuses.as_mut().expect("set")[0].restart_count = 3),
            with("young", |p| p.metadata.creation_timestamp = Some(at(900))),
            with("old", |_| {}),
        ];
        let mut related = pods.clone();
        let crowd = |name| with(name, |p| p.spec.as_mut().expect("set").node_name = Some("crowded".to_owned()));
        related.extend(["x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"].map(crowd));
        let now = Timestamp::from_second(1000).expect("valid");
        let expected: Vec<_> = pods.iter().map(|p| p.metadata.name.clone()).collect();
        let mut shuffled = pods.clone();
        shuffled.reverse();
        let mut shuffled_more = shuffled.clone();
        shuffled_more.rotate_left(4);
        for input in [shuffled, shuffled_more] {
            let chosen = to_delete(input, &related, pods.len() - 1, now);
            let names: Vec<_> = chosen.iter().map(|p| p.metadata.name.clone()).collect();
            assert_eq!(names, expected[..pods.len() - 1]);
        }
    }
}
