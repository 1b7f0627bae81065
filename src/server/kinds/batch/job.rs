//! Job: pods that run to completion.

use k8s_openapi::api::batch::v1::Job;

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

    crate::server::kinds::spec_and_status!();
}
