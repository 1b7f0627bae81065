//! CronJob: Jobs on a schedule.

use k8s_openapi::api::batch::v1::CronJob;

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
}
