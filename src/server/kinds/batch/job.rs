//! Job: pods that run to completion.

use k8s_openapi::api::batch::v1::Job;

use crate::server::kinds::defaults;
use crate::server::strategy::{Meta, Strategy, Subresource};

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
