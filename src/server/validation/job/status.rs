//! The status of a Job, which controllers of others may write too (`managedBy`): it must be one that a Job can have,
//! and each change one that it can make. A rule that a change does not touch is not applied to it.

use std::collections::HashSet;

use k8s_openapi::api::batch::v1::{Job, JobStatus, UncountedTerminatedPods};

use super::super::{json, optional_not_negative, text};
use super::{indexes, is_indexed};
use crate::api::field::{Error, Errors, Path};

/// Whether a condition holds.
pub(super) fn is(job: &Job, kind: &str) -> bool {
    let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_finished(job: &Job) -> bool {
    is(job, "Complete") || is(job, "Failed")
}

/// Two states of a Job, and what differs between them.
struct Change<'a> {
    new: &'a Job,
    old: &'a Job,
    now: JobStatus,
    before: JobStatus,
    completions: Option<i32>,
}

impl Change<'_> {
    fn turned(&self, kind: &str) -> bool {
        is(self.new, kind) != is(self.old, kind)
    }
    fn finished(&self) -> bool {
        is_finished(self.new) != is_finished(self.old)
    }
    fn differs<T: PartialEq>(&self, field: impl Fn(&JobStatus) -> &T) -> bool {
        field(&self.now) != field(&self.before)
    }
}

pub fn status(new: &Job, old: &Job) -> Errors {
    let mut errors = Errors::new();
    let change = Change {
        new,
        old,
        now: new.status.clone().unwrap_or_default(),
        before: old.status.clone().unwrap_or_default(),
        completions: new.spec.as_ref().and_then(|spec| spec.completions),
    };
    let path = Path::new("status");
    counters(&mut errors, &path, &change.now);
    uncounted(&mut errors, &path.child("uncountedTerminatedPods"), change.now.uncounted_terminated_pods.as_ref());
    conditions(&mut errors, &path.child("conditions"), &change);
    completion_time(&mut errors, &path.child("completionTime"), &change);
    finished(&mut errors, &path, &change);
    index_sets(&mut errors, &path, &change);
    transitions(&mut errors, &path, &change);
    errors
}

fn counters(errors: &mut Errors, path: &Path, status: &JobStatus) {
    let counts = [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ];
    for (field, count) in counts {
        optional_not_negative(errors, &path.child(field), count);
    }
}

fn uncounted(errors: &mut Errors, path: &Path, pods: Option<&UncountedTerminatedPods>) {
    let Some(pods) = pods else { return };
    let mut seen = HashSet::new();
    for (list, uids) in [("succeeded", &pods.succeeded), ("failed", &pods.failed)] {
        for (at, uid) in uids.iter().flatten().enumerate() {
            let path = path.child(list).index(at);
            if uid.is_empty() {
                errors.push(Error::invalid(&path, "", "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(Error::duplicate(&path, uid.as_str()));
            }
        }
    }
}

/// Conditions that exclude or need each other.
fn conditions(errors: &mut Errors, path: &Path, change: &Change) {
    let (job, turned) = (change.new, |kind| change.turned(kind));
    let (complete, failed) = (is(job, "Complete"), is(job, "Failed"));
    let (failing, succeeding) = (is(job, "FailureTarget"), is(job, "SuccessCriteriaMet"));
    let by_policy = job.spec.as_ref().is_some_and(|spec| spec.success_policy.is_some());
    let indexes_failed = change.differs(|status| &status.failed_indexes);
    let rules = [
        (
            (turned("Complete") || turned("Failed")) && complete && failed,
            "cannot set Complete=True and Failed=true conditions",
        ),
        (
            (turned("Complete") || turned("FailureTarget")) && complete && failing,
            "cannot set Complete=True and FailureTarget=true conditions",
        ),
        (
            (turned("Failed") || indexes_failed) && failed && !failing,
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            (turned("Complete") || turned("SuccessCriteriaMet")) && complete && !succeeding,
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (succeeding && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (succeeding && failing, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
        (
            by_policy && complete && !succeeding,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        ),
    ];
    let broken = rules.iter().filter(|(broken, _)| *broken);
    errors.extend(broken.map(|(_, detail)| Error::invalid_unshown(path, detail)));
}

fn completion_time(errors: &mut Errors, path: &Path, change: &Change) {
    let (start, end) = (&change.now.start_time, &change.now.completion_time);
    let complete = is(change.new, "Complete");
    let end_moved = change.differs(|status| &status.completion_time);
    if change.turned("Complete") || end_moved {
        match end {
            Some(end) if !complete => {
                let detail = "cannot set completionTime when there is no Complete=True condition";
                errors.push(Error::invalid(path, json(end), detail));
            }
            None if complete => {
                errors.push(Error::required(path, "completionTime is required for Complete jobs"));
            }
            _ => {}
        }
    }
    let moved = change.differs(|status| &status.start_time) || end_moved;
    if let (true, Some(start), Some(end)) = (moved, start, end)
        && end.0 < start.0
    {
        errors.push(Error::invalid(path, json(end), "completionTime cannot be set before startTime"));
    }
}

/// What a finished Job cannot have any more.
fn finished(errors: &mut Errors, path: &Path, change: &Change) {
    let status = &change.now;
    let active = status.active.unwrap_or(0);
    if is_finished(change.new) {
        let touched = |moved: bool| change.finished() || moved;
        if touched(change.differs(|status| &status.active)) && active > 0 {
            errors.push(Error::invalid(&path.child("active"), active, "active>0 is invalid for finished job"));
        }
        let spec = change.new.spec.as_ref();
        let never = spec.is_some_and(|spec| spec.suspend == Some(true) && spec.completions == Some(0));
        if touched(change.differs(|status| &status.start_time)) && !never && status.start_time.is_none() {
            errors.push(Error::required(&path.child("startTime"), "startTime is required for finished job"));
        }
        let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let uncounted = uncounted.filter(|pods| !is_empty(&pods.succeeded) || !is_empty(&pods.failed));
        if let (true, Some(pods)) = (touched(change.differs(|status| &status.uncounted_terminated_pods)), uncounted) {
            let value = serde_json::json!({"Succeeded": pods.succeeded, "Failed": pods.failed});
            let detail = "uncountedTerminatedPods needs to be empty for finished job";
            errors.push(Error::invalid(&path.child("uncountedTerminatedPods"), value, detail));
        }
        let terminating = status.terminating.filter(|count| *count > 0);
        if let (true, Some(count)) = (touched(change.differs(|status| &status.terminating)), terminating) {
            let detail = "terminating>0 is invalid for finished job";
            errors.push(Error::invalid(&path.child("terminating"), count, detail));
        }
    }
    let moved = change.differs(|status| &status.ready) || change.differs(|status| &status.active);
    if let Some(ready) = status.ready.filter(|ready| moved && *ready > active) {
        errors.push(Error::invalid(&path.child("ready"), ready, "cannot set more ready pods than active"));
    }
}

fn index_sets(errors: &mut Errors, path: &Path, change: &Change) {
    let status = &change.now;
    let completed_moved = change.differs(|status| &status.completed_indexes);
    let failed_moved = change.differs(|status| &status.failed_indexes);
    let (completed, failed) = (text(&status.completed_indexes), status.failed_indexes.as_deref());
    let limited = change.new.spec.as_ref().is_some_and(|spec| spec.backoff_limit_per_index.is_some());
    let completed_path = path.child("completedIndexes");
    let failed_path = path.child("failedIndexes");
    if let Some(completions) = change.completions {
        let mut read = |path: &Path, field: &str, text: &str| {
            if let Err(problem) = indexes::parse(text, completions) {
                errors.push(Error::invalid(path, text, format!("error parsing {field}: {problem}")));
            }
        };
        if completed_moved {
            read(&completed_path, "completedIndexes", completed);
        }
        if let Some(failed) = failed.filter(|_| failed_moved && limited) {
            read(&failed_path, "failedIndexes", failed);
        }
    }
    let indexed = change.new.spec.as_ref().is_some_and(is_indexed);
    if completed_moved && !completed.is_empty() && !indexed {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(Error::invalid(&completed_path, completed, detail));
    }
    let Some(failed) = failed else { return };
    if failed_moved && !limited {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(Error::invalid(&failed_path, failed, detail));
    }
    let shared = change.completions.and_then(|count| indexes::overlap(completed, failed, count));
    if let (true, Some(index)) = (completed_moved || failed_moved, shared) {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(Error::invalid(&failed_path, failed, detail));
    }
}

/// What only ever goes one way.
fn transitions(errors: &mut Errors, path: &Path, change: &Change) {
    let (now, before) = (&change.now, &change.before);
    let here = path.child("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is(change.old, kind) && !is(change.new, kind) {
            errors.push(Error::invalid_unshown(&here, format!("cannot disable the terminal {kind}=True condition")));
        }
    }
    let spec = change.new.spec.as_ref();
    // An indexed Job that shrinks forgets the indexes that it no longer has.
    let elastic = spec.is_some_and(|spec| is_indexed(spec) && spec.completions == spec.parallelism);
    let counters =
        [("failed", now.failed, before.failed, false), ("succeeded", now.succeeded, before.succeeded, elastic)];
    for (field, now, before, may_fall) in counters {
        if !may_fall && now.unwrap_or(0) < before.unwrap_or(0) {
            let detail = format!("cannot decrease the {field} counter");
            errors.push(Error::invalid(&path.child(field), now.unwrap_or(0), detail));
        }
    }
    if let (Some(end), Some(was)) = (&now.completion_time, &before.completion_time)
        && end != was
    {
        errors.push(Error::invalid(&path.child("completionTime"), json(end), "completionTime cannot be mutated"));
    }
    let suspended = spec.is_some_and(|spec| spec.suspend == Some(true));
    if before.start_time.is_some() && now.start_time != before.start_time && !suspended {
        let detail = "startTime cannot be removed for unsuspended job";
        errors.push(Error::required(&path.child("startTime"), detail));
    }
    match (is(change.old, "SuccessCriteriaMet"), is(change.new, "SuccessCriteriaMet")) {
        (true, false) => {
            errors.push(Error::invalid_unshown(&here, "cannot disable the SuccessCriteriaMet=True condition"));
        }
        (false, true) if is(change.old, "Complete") => {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            errors.push(Error::invalid_unshown(&here, detail));
        }
        _ => {}
    }
}
