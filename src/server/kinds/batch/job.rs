//! Job: pods that run to completion.

use std::borrow::Cow;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::closed;
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

    fn drop_closed(&self, new: &mut Job, old: Option<&Job>) {
        closed::template(
            new.spec.as_mut().map(|spec| &mut spec.template),
            old.and_then(|old| Some(&old.spec.as_ref()?.template)),
        );
    }

    fn prepare_create(&self, object: &mut Job) {
        object.status = Some(Default::default());
        validation::job::generate_selector(object);
        labels(object);
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
        labels(object);
        defaults::job::job_spec(object.spec.get_or_insert_default());
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Status", "Status of the job."),
            Column::string("Completions", "The number of pods which reached phase Succeeded. The value increases monotonically for a given spec. However, it may decrease in reaction to scale down of elastic indexed jobs."),
            Column::string("Duration", "Time required to complete the job."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR.described("A label query over pods that should match the pod count. Normally, the system sets this field for you. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"),
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
        validation::job::job(&mut errors, new, spec, old);
        if let Some((old, before)) = old.and_then(|old| Some((old, old.spec.as_ref()?))) {
            validation::job::fixed(&mut errors, &path, spec, before, old);
        }
        errors
    }

    fn validate_status(&self, new: &Job, old: &Job) -> Errors {
        validation::job::status(new, old)
    }

    fn warnings(&self, new: &Job, old: Option<&Job>) -> Vec<String> {
        let name = new.metadata.name.as_deref().filter(|_| old.is_none());
        let same = old.is_some_and(|old| old.spec == new.spec);
        let spec = new.spec.iter().flat_map(|spec| validation::job::warnings(&Path::new("spec"), spec, same));
        validation::workload::name_warning(name).into_iter().chain(spec).collect()
    }
}

/// A Job without labels has those of its pods, also the generated ones.
fn labels(job: &mut Job) {
    let template = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.as_ref());
    if let (Some(labels), None) = (template, job.metadata.labels.as_ref().filter(|labels| !labels.is_empty())) {
        job.metadata.labels = Some(labels.clone());
    }
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
        assert_eq!(job.metadata.labels, job.spec.as_ref().unwrap().template.metadata.as_ref().unwrap().labels);
        let spec = serde_json::to_value(job.spec).unwrap();
        assert_eq!(spec["selector"]["matchLabels"], json!({"batch.kubernetes.io/controller-uid": "u"}));
        assert_eq!(spec["template"]["metadata"]["labels"]["job-name"], "x");
        assert_eq!(
            (&spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!(1), &json!(1), &json!(6))
        );
    }
}
