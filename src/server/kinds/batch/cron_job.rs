//! CronJob: Jobs on a schedule.

use k8s_openapi::api::batch::v1::{CronJob, JobSpec};

use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Meta, Strategy, Subresource};

pub struct CronJobs;

impl Strategy for CronJobs {
    type Kind = CronJob;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["cj"],
            categories: &["all"],
            subresources: const { &[Subresource::status("CronJob")] },
            generation: true,
            ..Meta::namespaced::<CronJob>("cronjobs")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut CronJob) {
        let spec = &mut object.spec;
        text(&mut spec.concurrency_policy, "Allow");
        absent(&mut spec.suspend, false);
        absent(&mut spec.successful_jobs_history_limit, 3);
        absent(&mut spec.failed_jobs_history_limit, 1);
        if let Some(job) = &mut spec.job_template.spec {
            template(job);
        }
    }
}

/// A template gets the defaults of its pods; those of the Job come when it is made.
fn template(job: &mut JobSpec) {
    defaults::pod::template(&mut job.template);
}
