//! SubjectAccessReview: may somebody do this? Create-only.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct SubjectAccessReviews;

impl Strategy for SubjectAccessReviews {
    type Kind = SubjectAccessReview;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::cluster::<SubjectAccessReview>("subjectaccessreviews") }
    }

    crate::server::kinds::spec_and_status!();
}
