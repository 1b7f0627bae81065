//! What a ReplicaSet needs: how many pods to create, which to delete, and its status. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::rank;
use crate::reconcile::clock::time;
use crate::server::controllers::pods::{self, Availability};

/// No more than this many pods are created or deleted at a time.
pub const BURST: usize = 500;
const REPLICA_FAILURE: &str = "ReplicaFailure";

#[derive(Debug, Default)]
pub struct Plan {
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
}

pub fn wanted(set: &ReplicaSet) -> usize {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

fn min_ready_seconds(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
}

/// `mine` are the set's pods; `related` those of all sets with the same controller.
pub fn plan(set: &ReplicaSet, mine: &[Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) -> Plan {
    if set.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let active: Vec<_> = mine.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let (have, want) = (active.len(), wanted(set));
    if have < want {
        return Plan { create: (want - have).min(BURST), delete: Vec::new() };
    }
    let surplus = (have - want).min(BURST);
    let delete = if surplus == 0 { Vec::new() } else { rank::to_delete(active, related, surplus, now) };
    Plan { create: 0, delete }
}

/// The status that the pods amount to. `failure` is why creating or deleting failed.
pub fn status(set: &ReplicaSet, mine: &[Arc<Pod>], failure: Option<&str>, now: Timestamp) -> ReplicaSetStatus {
    let active: Vec<_> = mine.iter().filter(|pod| pods::is_active(pod)).collect();
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.as_ref());
    let fully_labeled = |pod: &&&Arc<Pod>| {
        let labels = pod.metadata.labels.as_ref();
        template.into_iter().flatten().all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
    };
    let is_available = |pod: &&&Arc<Pod>| pods::availability(pod, min_ready_seconds(set), now) == Availability::Now;
    let mut status = set.status.clone().unwrap_or_default();
    status.replicas = count(active.len());
    status.fully_labeled_replicas = Some(count(active.iter().filter(fully_labeled).count()));
    status.ready_replicas = Some(count(active.iter().filter(|pod| pods::is_ready(pod)).count()));
    status.available_replicas = Some(count(active.iter().filter(is_available).count()));
    status.terminating_replicas = Some(count(mine.iter().filter(|pod| pods::is_terminating(pod)).count()));
    status.observed_generation = set.metadata.generation;
    set_failure(&mut status, active.len(), wanted(set), failure, now);
    status
}

fn set_failure(status: &mut ReplicaSetStatus, have: usize, want: usize, failure: Option<&str>, now: Timestamp) {
    let mut conditions = status.conditions.take().unwrap_or_default();
    let known = conditions.iter().position(|condition| condition.type_ == REPLICA_FAILURE);
    match (failure, known) {
        (Some(message), None) => conditions.push(ReplicaSetCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(if have < want { "FailedCreate" } else { "FailedDelete" }.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(time(now)),
        }),
        (None, Some(at)) => drop(conditions.remove(at)),
        _ => {}
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
}

/// When the next pod becomes available if it stays ready.
pub fn next_due(set: &ReplicaSet, mine: &[Arc<Pod>], now: Timestamp) -> Option<Timestamp> {
    let due = mine.iter().filter(|pod| pods::is_active(pod)).filter_map(|pod| {
        match pods::availability(pod, min_ready_seconds(set), now) {
            Availability::At(at) => Some(at),
            Availability::Now | Availability::NotReady => None,
        }
    });
    due.min()
}

/// Whether writing `new` would tell anybody anything.
pub fn same(old: Option<&ReplicaSetStatus>, new: &ReplicaSetStatus) -> bool {
    let Some(old) = old else { return false };
    let shown = |status: &ReplicaSetStatus| {
        let count = |n: Option<i32>| n.unwrap_or(0);
        let counts = [status.fully_labeled_replicas, status.ready_replicas, status.available_replicas].map(count);
        let conditions = status.conditions.clone().unwrap_or_default();
        (status.replicas, counts, status.terminating_replicas, status.observed_generation, conditions)
    };
    shown(old) == shown(new)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::ReplicaSetSpec;
    use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("valid")
    }

    fn set(replicas: i32, min_ready_seconds: i32) -> ReplicaSet {
        let spec = ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: Some(min_ready_seconds),
            ..ReplicaSetSpec::default()
        };
        ReplicaSet { spec: Some(spec), ..ReplicaSet::default() }
    }

    fn pod(phase: &str, ready_at: Option<i64>, deleted: bool) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.deletion_timestamp = deleted.then(|| Time(at(5)));
        let ready = ready_at.map(|since| PodCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(at(since))),
            ..PodCondition::default()
        });
        let conditions = Some(ready.into_iter().collect());
        pod.status = Some(PodStatus { phase: Some(phase.to_owned()), conditions, ..PodStatus::default() });
        Arc::new(pod)
    }

    #[test]
    fn pods_that_are_done_or_going_do_not_count() {
        let running = || pod("Running", Some(1), false);
        // pods, replicas wanted → created, deleted
        let cases: Vec<(Vec<Arc<Pod>>, i32, usize, usize)> = vec![
            (vec![], 3, 3, 0),
            (vec![], 2000, BURST, 0),
            (vec![running(), running()], 3, 1, 0),
            (vec![running(), pod("Failed", None, false), pod("Succeeded", None, false)], 1, 0, 0),
            (vec![running(), pod("Running", Some(1), true)], 2, 1, 0),
            (vec![running(), running(), running()], 1, 0, 2),
            (vec![running(), running()], 0, 0, 2),
        ];
        for (pods, replicas, created, deleted) in cases {
            let plan = plan(&set(replicas, 0), &pods, &pods, at(10));
            assert_eq!((plan.create, plan.delete.len()), (created, deleted), "{} of {replicas}", pods.len());
        }
        let mut dying = set(3, 0);
        dying.metadata.deletion_timestamp = Some(Time(at(1)));
        assert_eq!(plan(&dying, &[], &[], at(10)).create, 0);
    }

    #[test]
    fn status_counts_availability_by_time() {
        let set = set(3, 30);
        let pods = [
            pod("Running", Some(1), false),
            pod("Running", Some(20), false),
            pod("Pending", None, false),
            pod("Running", Some(1), true),
        ];
        let status = status(&set, &pods, None, at(40));
        assert_eq!((status.replicas, status.ready_replicas, status.available_replicas), (3, Some(2), Some(1)));
        assert_eq!(status.terminating_replicas, Some(1));
        assert_eq!(next_due(&set, &pods, at(40)), Some(at(50)));
        assert_eq!(next_due(&set, &pods, at(50)), None);
    }

    #[test]
    fn a_failure_is_a_condition_until_it_is_over() {
        let mut set = set(3, 0);
        let failed = status(&set, &[], Some("quota"), at(1));
        let condition = &failed.conditions.as_ref().expect("there")[0];
        assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
        assert_eq!(condition.message.as_deref(), Some("quota"));
        set.status = Some(failed.clone());
        assert!(same(set.status.as_ref(), &status(&set, &[], Some("quota again"), at(9))));
        let over = status(&set, &[], None, at(10));
        assert_eq!(over.conditions, None);
        assert!(!same(Some(&failed), &over));
    }
}
