//! Jobs, alone or in a CronJob's template. One file per thought; this one holds the order of the checks.

mod failure_policy;
mod indexes;
mod status;
mod success_policy;
mod update;

#[cfg(test)]
mod tests;

pub use status::status;
pub use update::fixed;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};

use super::{labels, not_negative, optional_not_negative, optional_one_of, pod, text, workload};
use crate::api::field::{Error, Errors, Path};
use crate::api::{names, selector};

/// A bound of indexed Jobs: how many pods at once, how many failed indexes.
const MAX_INDEXED: i32 = 100_000;
/// Above so many completions, limits per index have bounds of their own.
const COMPLETIONS_SOFT_LIMIT: i32 = 100_000;
const MAX_WITH_HIGH_COMPLETIONS: i32 = 10_000;
const MANAGED_BY_MAX: usize = 63;

const NAME_LABELS: [&str; 2] = ["job-name", "batch.kubernetes.io/job-name"];
const UID_LABELS: [&str; 2] = ["controller-uid", "batch.kubernetes.io/controller-uid"];

/// Labels the pods with the Job's name and UID and selects them by the UID, unless the user manages the selector.
pub fn generate_selector(job: &mut Job) {
    let (Some(uid), name) = (job.metadata.uid.clone(), job.metadata.name.clone().unwrap_or_default()) else { return };
    let Some(spec) = job.spec.as_mut().filter(|spec| spec.manual_selector != Some(true)) else { return };
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (keys, value) in [(NAME_LABELS, &name), (UID_LABELS, &uid)] {
        for key in keys {
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let selected = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selected.entry(UID_LABELS[1].to_owned()).or_insert(uid);
}

/// A Job as a client made it or changed it; `old` only tells what it may lack or keep.
pub fn job(errors: &mut Errors, job: &Job, spec: &JobSpec, old: Option<&Job>) {
    generated_selector(errors, job, spec, old);
    let path = Path::new("spec");
    template(errors, &path, spec, old.and_then(|old| old.spec.as_ref()));
    match &spec.selector {
        None => errors.push(Error::required(&path.child("selector"), "")),
        Some(selector) => {
            labels::selector(errors, &path.child("selector"), Some(selector));
            workload::matches(errors, &path, selector, &spec.template);
        }
    }
    host_names(errors, job, spec);
}

/// What a user wrote in the place of generated labels and selectors must be what would have been generated.
fn generated_selector(errors: &mut Errors, job: &Job, spec: &JobSpec, old: Option<&Job>) {
    let (Some(selector), false) = (&spec.selector, spec.manual_selector == Some(true)) else { return };
    let (name, uid) = (text(&job.metadata.name), text(&job.metadata.uid));
    if uid.is_empty() {
        errors.push(Error::required(&Path::new("metadata").child("uid"), ""));
    }
    let labels_of = |spec: &JobSpec| spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let labels = labels_of(spec).unwrap_or_default();
    // Jobs from before the prefixed labels keep working without them.
    let before = old.and_then(|old| labels_of(old.spec.as_ref()?));
    let prefixed = old.is_none()
        || before.is_some_and(|before| before.contains_key(NAME_LABELS[1]) && before.contains_key(UID_LABELS[1]));
    let path = Path::new("spec").child("template").child("metadata").child("labels");
    let mut expected = BTreeMap::new();
    for at in 0..=usize::from(prefixed) {
        for (key, value) in [(UID_LABELS[at], uid), (NAME_LABELS[at], name)] {
            expected.insert(key.to_owned(), value.to_owned());
            let detail = format!("must be '{value}'");
            match labels.get(key) {
                None => errors.push(Error::required(&path.key(key), detail)),
                Some(found) if found != value => {
                    errors.push(Error::invalid(&path.key(key), super::json(&labels), detail));
                }
                Some(_) => {}
            }
        }
    }
    let read = selector::LabelSelector::from_api(Some(selector));
    if read.is_ok_and(|read| !read.matches(&expected)) {
        let path = Path::new("spec").child("selector");
        errors.push(Error::invalid(&path, super::json(selector), "`selector` not auto-generated"));
    }
}

/// The pods of an indexed Job get their index in their host names.
fn host_names(errors: &mut Errors, job: &Job, spec: &JobSpec) {
    let Some(last) = spec.completions.filter(|_| is_indexed(spec)).and_then(|count| count.checked_sub(1)) else {
        return;
    };
    let name = text(&job.metadata.name);
    let longest = format!("{name}-{last}");
    if last >= 0 && !names::dns1123_label(&longest).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
    }
}

fn is_indexed(spec: &JobSpec) -> bool {
    text(&spec.completion_mode) == "Indexed"
}

/// The rules of a Job's spec that hold for a template of Jobs too: everything but the selector.
pub fn template(errors: &mut Errors, path: &Path, spec: &JobSpec, old: Option<&JobSpec>) {
    numbers(errors, path, spec);
    if let Some(manager) = &spec.managed_by {
        let path = path.child("managedBy");
        super::domain_prefixed_path(errors, &path, manager);
        if manager.len() > MANAGED_BY_MAX {
            errors.push(Error::too_long(&path, MANAGED_BY_MAX));
        }
    }
    super::optional_in_order(errors, &path.child("completionMode"), &spec.completion_mode, &["NonIndexed", "Indexed"]);
    if is_indexed(spec) {
        indexed(errors, path, spec)
    } else {
        not_indexed(errors, path, spec)
    }
    failure_policy::failure_policy(errors, &path.child("podFailurePolicy"), spec);
    success_policy::success_policy(errors, &path.child("successPolicy"), spec);
    let policies: &[&str] = match spec.pod_failure_policy {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    optional_one_of(errors, &path.child("podReplacementPolicy"), &spec.pod_replacement_policy, policies);
    pod::template(errors, &path.child("template"), &spec.template, old.map(|old| &old.template));
    restart_policy(errors, &path.child("template").child("spec").child("restartPolicy"), spec);
}

fn numbers(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    optional_not_negative(errors, &path.child("parallelism"), spec.parallelism);
    optional_not_negative(errors, &path.child("completions"), spec.completions);
    if let Some(seconds) = spec.active_deadline_seconds {
        not_negative(errors, &path.child("activeDeadlineSeconds"), seconds);
    }
    let counts = [
        ("backoffLimit", spec.backoff_limit),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index),
        ("maxFailedIndexes", spec.max_failed_indexes),
    ];
    for (field, count) in counts {
        optional_not_negative(errors, &path.child(field), count);
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.push(Error::required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
}

fn restart_policy(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    match spec.template.spec.as_ref().map_or("", |pod| text(&pod.restart_policy)) {
        "Always" | "" => errors.push(Error::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(Error::invalid(path, "OnFailure", detail));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(Error::not_supported_in_order(path, other, &["OnFailure", "Never"])),
    }
}

/// What a Job needs whose pods have indexes, and how far it may go.
fn indexed(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    let mut above = |field: &str, value: Option<i32>, bound: i32, rest: &str| {
        if let Some(value) = value.filter(|value| *value > bound) {
            let detail = format!("must be less than or equal to {bound}{rest}");
            errors.push(Error::invalid(&path.child(field), value, detail));
        }
    };
    above("parallelism", spec.parallelism, MAX_INDEXED, " when completion mode is Indexed");
    above("maxFailedIndexes", spec.max_failed_indexes, MAX_INDEXED, "");
    let high = spec.completions.is_some_and(|count| count > COMPLETIONS_SOFT_LIMIT);
    let high = high && spec.backoff_limit_per_index.is_some();
    if high {
        let rest =
            format!(" when completions are above {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index");
        above("parallelism", spec.parallelism, MAX_WITH_HIGH_COMPLETIONS, &rest);
        above("maxFailedIndexes", spec.max_failed_indexes, MAX_WITH_HIGH_COMPLETIONS, &rest);
    }
    match (spec.completions, spec.max_failed_indexes) {
        (None, _) => {
            errors.push(Error::required(&path.child("completions"), "when completion mode is Indexed"));
        }
        (Some(completions), Some(failed)) if failed > completions => {
            let path = path.child("maxFailedIndexes");
            errors.push(Error::invalid(&path, failed, "must be less than or equal to completions"));
        }
        (Some(_), None) if high => {
            let detail = format!("must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}");
            errors.push(Error::required(&path.child("maxFailedIndexes"), detail));
        }
        _ => {}
    }
}

/// What makes no sense for a Job whose pods are all the same.
fn not_indexed(errors: &mut Errors, path: &Path, spec: &JobSpec) {
    let indexed =
        [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
    for (field, value) in indexed {
        if let Some(value) = value {
            errors.push(Error::invalid(&path.child(field), value, "requires indexed completion mode"));
        }
    }
}

/// Jobs so large that their status may not hold everything about them; and what upstream warns of in their pods.
/// `path` is the spec's.
pub fn warnings(path: &Path, spec: &JobSpec, same: bool) -> Vec<String> {
    if same {
        return Vec::new();
    }
    let large = is_indexed(spec)
        && spec.completions.is_some_and(|count| count > COMPLETIONS_SOFT_LIMIT)
        && spec.parallelism.is_some_and(|count| count > MAX_WITH_HIGH_COMPLETIONS);
    let words = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
    let large = large.then(|| format!("{path}: {words}"));
    large.into_iter().chain(workload::template_warnings(path, &spec.template, same)).collect()
}
