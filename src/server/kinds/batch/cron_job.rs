//! CronJob: Jobs on a schedule.

use k8s_openapi::api::batch::v1::{CronJob, JobSpec};
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::kinds::defaults::{self, absent, text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Schedule", "The schedule in Cron format."),
            Column::string("Timezone", "The time zone name for the given schedule."),
            Column { kind: "boolean", ..Column::string("Suspend", "Whether subsequent executions are suspended.") },
            Column::integer("Active", "How many jobs are running now."),
            Column::string("Last Schedule", "When the job was last scheduled."),
            Column::AGE,
            cell::CONTAINERS,
            cell::IMAGES,
            cell::SELECTOR,
        ];
        COLUMNS
    }

    fn cells(&self, object: &CronJob, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = &object.spec;
        let job = spec.job_template.spec.clone().unwrap_or_default();
        let [names, images] = cell::template(Some(&job.template));
        let status = object.status.clone().unwrap_or_default();
        let last = status.last_schedule_time.as_ref().map(|time| cell::since(Some(time), now));
        let suspend = if spec.suspend == Some(true) { "True" } else { "False" };
        Some(vec![
            cell::name(&object.metadata),
            spec.schedule.clone().into(),
            cell::or(spec.time_zone.as_deref(), cell::NONE).into(),
            suspend.into(),
            status.active.map_or(0, |active| active.len()).into(),
            cell::or(last.as_deref(), cell::NONE).into(),
            cell::age(&object.metadata, now),
            names,
            images,
            cell::selector(job.selector.as_ref()).into(),
        ])
    }
}

/// A template gets the defaults of its pods; those of the Job come when it is made.
fn template(job: &mut JobSpec) {
    defaults::pod::template(&mut job.template);
}
