//! The status of a Deployment: counts, and the conditions Available, Progressing and ReplicaFailure
//! with upstream's reasons and messages. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::size;
use crate::reconcile::clock::time;

const PROGRESSING: &str = "Progressing";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// A deadline of `i32::MAX` means none.
fn deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds).filter(|seconds| *seconds != i32::MAX)
}

fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
    status.conditions = status.conditions.take().filter(|conditions| !conditions.is_empty());
}

fn new(kind: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    }
}

/// Sets a condition unless it has the same status and reason already.
fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = find(status, &condition.type_)
        && current.status == condition.status
    {
        if current.reason == condition.reason {
            return;
        }
        condition.last_transition_time = current.last_transition_time.clone();
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

/// Says that a rollout was paused or resumed, so that the pause does not count as lack of progress.
pub fn note_pause(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let current = find(status, PROGRESSING).and_then(|condition| condition.reason.as_deref());
    if deadline(deployment).is_none() || current == Some(TIMED_OUT) {
        return;
    }
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
    if paused && current != Some(PAUSED) {
        set(status, new(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned(), now));
    } else if !paused && current == Some(PAUSED) {
        set(status, new(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), now));
    }
}

/// Says that the current set was found; only where nothing is known of progress yet.
pub fn note_found(deployment: &Deployment, status: &mut DeploymentStatus, name: &str, now: Timestamp) {
    if deadline(deployment).is_some() && find(status, PROGRESSING).is_none() {
        let message = format!("Found new replica set {name:?}");
        set(status, new(PROGRESSING, "True", "FoundNewReplicaSet", message, now));
    }
}

pub fn note_created(deployment: &Deployment, status: &mut DeploymentStatus, name: &str, now: Timestamp) {
    if deadline(deployment).is_some() {
        let message = format!("Created new replica set {name:?}");
        set(status, new(PROGRESSING, "True", "NewReplicaSetCreated", message, now));
    }
}

/// Says why the current set could not be created.
pub fn note_failed(deployment: &Deployment, status: &mut DeploymentStatus, message: String, now: Timestamp) {
    if deadline(deployment).is_some() {
        set(status, new(PROGRESSING, "False", "ReplicaSetCreateError", message, now));
    }
}

/// Counts of all sets, and whether enough is available. `status` is the one so far, for its conditions.
pub fn calculate(
    deployment: &Deployment,
    status: &DeploymentStatus,
    current: Option<&ReplicaSet>,
    sets: &[&ReplicaSet],
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| sets.iter().map(|set| count(set)).sum::<i32>();
    let actual = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
    let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    let terminating = |set: &&&ReplicaSet| set.status.as_ref().and_then(|status| status.terminating_replicas);
    let available = sum(&size::available);
    let mut new_status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(&actual)),
        updated_replicas: Some(current.map_or(0, actual)),
        ready_replicas: Some(sum(&ready)),
        available_replicas: Some(available),
        unavailable_replicas: Some((sum(&size::set_replicas) - available).max(0)),
        terminating_replicas: Some(sets.iter().filter_map(|set| terminating(&set)).sum()),
        collision_count: status.collision_count,
        conditions: status.conditions.clone(),
    };
    let enough = available >= size::replicas(deployment) - size::max_unavailable(deployment);
    let (value, reason, message) = match enough {
        true => ("True", "MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    set(&mut new_status, new("Available", value, reason, message.to_owned(), now));
    new_status
}

/// Every replica is of the current template and available, and none is left of another.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(size::replicas(deployment));
    let all = |count: Option<i32>| Some(count.unwrap_or(0)) == wanted;
    all(status.updated_replicas)
        && all(status.replicas)
        && all(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |n: Option<i32>| n.unwrap_or(0);
    let outdated = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || outdated(new) < outdated(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// When a rollout that shows no progress will be given up; `None` where there is none or it was already.
pub fn gives_up_at(deployment: &Deployment, status: &DeploymentStatus) -> Option<Timestamp> {
    let deadline = deadline(deployment)?;
    let condition = find(status, PROGRESSING)?;
    let over = [Some(COMPLETE), Some(TIMED_OUT), Some(PAUSED)].contains(&condition.reason.as_deref());
    let since = condition.last_update_time.as_ref().filter(|_| !over && !is_complete(deployment, status))?;
    since.0.saturating_add(SignedDuration::from_secs(deadline.into())).ok()
}

/// Adds to a calculated status how the rollout goes. `old` is the status that clients see now.
pub fn add_progress(
    deployment: &Deployment,
    old: &DeploymentStatus,
    status: &mut DeploymentStatus,
    current: Option<&ReplicaSet>,
    sets: &[&ReplicaSet],
    now: Timestamp,
) {
    if deadline(deployment).is_none() {
        remove(status, PROGRESSING);
    } else {
        let about = match current {
            Some(set) => format!("ReplicaSet {:?}", set.metadata.name.as_deref().unwrap_or_default()),
            None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
        };
        let known = find(status, PROGRESSING).cloned();
        let was_complete = known.as_ref().is_some_and(|known| known.reason.as_deref() == Some(COMPLETE));
        if !(was_complete && status.replicas == status.updated_replicas) {
            if is_complete(deployment, status) {
                let message = format!("{about} has successfully progressed.");
                set(status, new(PROGRESSING, "True", COMPLETE, message, now));
            } else if is_progressing(old, status) {
                let mut condition =
                    new(PROGRESSING, "True", "ReplicaSetUpdated", format!("{about} is progressing."), now);
                if let Some(known) = known.filter(|known| known.status == "True") {
                    condition.last_transition_time = known.last_transition_time;
                }
                // Every sign of progress starts the deadline anew, so the condition is replaced even if it reads the same.
                remove(status, PROGRESSING);
                set(status, condition);
            } else if gives_up_at(deployment, status).is_some_and(|at| at <= now) {
                let message = format!("{about} has timed out progressing.");
                set(status, new(PROGRESSING, "False", TIMED_OUT, message, now));
            }
        }
    }
    promote_failure(status, current, sets);
}

/// A ReplicaSet that cannot create pods makes its Deployment say so.
fn promote_failure(status: &mut DeploymentStatus, current: Option<&ReplicaSet>, sets: &[&ReplicaSet]) {
    let failure = |set: &&ReplicaSet| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == "ReplicaFailure").cloned()
    };
    let found = current.as_ref().and_then(failure).or_else(|| sets.iter().find_map(failure));
    match found {
        None => remove(status, "ReplicaFailure"),
        Some(found) => set(
            status,
            DeploymentCondition {
                type_: found.type_,
                status: found.status,
                reason: found.reason,
                message: found.message,
                last_update_time: found.last_transition_time.clone(),
                last_transition_time: found.last_transition_time,
            },
        ),
    }
}
