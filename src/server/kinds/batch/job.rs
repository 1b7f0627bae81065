//! Job: pods that run to completion.

use std::borrow::Cow;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Fields, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct Jobs;

impl Strategy for Jobs {
    type Kind = Job;

    fn meta(&self) -> Meta {
        Meta {
            categories: &["all"],
            subresources: const { &[Subresource::status("Job")] },
            generation: true,
            ..Meta::namespaced::<Job>("jobs")
        }
    }

    fn prepare_create(&self, object: &mut Job) {
        object.status = None;
        generate_selector(object);
    }

    fn prepare_update(&self, new: &mut Job, old: &Job) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Job, old: &Job) {
        new.spec = old.spec.clone();
    }

    fn same_spec(&self, new: &Job, old: &Job) -> bool {
        new.spec == old.spec
    }

    fn default(&self, object: &mut Job) {
        let Some(spec) = &mut object.spec else { return };
        defaults::job::job_spec(spec);
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Status", "Status of the job."),
            Column::string("Completions", "How many pods have succeeded of those wanted."),
            Column::string("Duration", "Time required to complete the job."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Job, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let [names, images] = cell::template(Some(&spec.template));
        Some(vec![
            cell::name(&object.metadata),
            state(object, &spec).into(),
            completions(object, &spec).into(),
            duration(object, now).into(),
            cell::age(&object.metadata, now),
            names,
            images,
            cell::selector(spec.selector.as_ref()).into(),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn fields<'a>(&self, object: &'a Job) -> Fields<'a> {
        let succeeded = object.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
        vec![("status.successful", Cow::from(succeeded.to_string()))]
    }

    fn validate(&self, new: &Job, old: Option<&Job>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let Some(spec) = &new.spec else {
            errors.push(Error::required(&path.child("template"), ""));
            return errors;
        };
        validation::job::spec(&mut errors, &path, spec, true);
        if let Some(before) = old.and_then(|old| old.spec.as_ref()) {
            validation::job::fixed(&mut errors, &path, spec, before);
        }
        errors
    }
}

/// Labels the pods with the Job's UID and selects them by it, unless the user manages the selector.
fn generate_selector(job: &mut Job) {
    let (Some(uid), name) = (job.metadata.uid.clone(), job.metadata.name.clone().unwrap_or_default()) else { return };
    let Some(spec) = job.spec.as_mut().filter(|spec| spec.manual_selector != Some(true)) else { return };
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [
        ("job-name", &name),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/controller-uid", &uid),
    ] {
        labels.entry(key.to_owned()).or_insert_with(|| value.clone());
    }
    let selected = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    selected.entry("batch.kubernetes.io/controller-uid".to_owned()).or_insert(uid);
}

fn state(job: &Job, spec: &JobSpec) -> &'static str {
    let is = |kind: &str| {
        let mut conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|condition| condition.type_ == kind && condition.status == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if is("Suspended") || spec.suspend == Some(true) => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Job, spec: &JobSpec) -> String {
    let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
    match (spec.completions, spec.parallelism.unwrap_or(0)) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(job: &Job, now: jiff::Timestamp) -> String {
    let status = job.status.as_ref();
    let Some(start) = status.and_then(|status| status.start_time.as_ref()) else { return String::new() };
    let end = status.and_then(|status| status.completion_time.as_ref()).map_or(now, |end| end.0);
    cell::since(Some(start), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::validation::lines;
    use serde_json::{Value, json};

    fn job(spec: Value) -> Job {
        let meta = json!({"name": "x", "uid": "u"});
        let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec});
        let mut object: Job = serde_json::from_value(object).unwrap();
        Jobs.default(&mut object);
        Jobs.prepare_create(&mut object);
        object
    }

    fn template(policy: &str) -> Value {
        json!({"spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "i"}]}})
    }

    #[test]
    fn a_job_selects_its_own_pods() {
        let job = job(json!({"template": template("Never")}));
        assert_eq!(lines(&Jobs.validate(&job, None)), Vec::<String>::new());
        let spec = serde_json::to_value(job.spec).unwrap();
        assert_eq!(spec["selector"]["matchLabels"], json!({"batch.kubernetes.io/controller-uid": "u"}));
        assert_eq!(spec["template"]["metadata"]["labels"]["job-name"], "x");
        assert_eq!(
            (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!(1), &json!(1), &json!(6))
        );
    }

    #[test]
    fn bad_jobs_are_refused() {
        let cases = [
            (
                json!({"template": template("Always")}),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                json!({"template": template("Never"), "parallelism": -1}),
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"template": template("Never"), "completionMode": "Indexed", "parallelism": 1}),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(lines(&Jobs.validate(&job(spec), None)), [expected]);
        }
        let old = job(json!({"template": template("Never")}));
        let mut new = old.clone();
        new.spec.as_mut().unwrap().completions = Some(3);
        let expected = ["spec.completions: Invalid value: 3: field is immutable"];
        assert_eq!(lines(&Jobs.validate(&new, Some(&old))), expected);
    }
}
