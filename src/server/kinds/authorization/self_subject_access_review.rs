//! SelfSubjectAccessReview: may I do this? Create-only.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct SelfSubjectAccessReviews;

impl Strategy for SelfSubjectAccessReviews {
    type Kind = SelfSubjectAccessReview;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::cluster::<SelfSubjectAccessReview>("selfsubjectaccessreviews") }
    }

    crate::server::kinds::spec_and_status!();
}
