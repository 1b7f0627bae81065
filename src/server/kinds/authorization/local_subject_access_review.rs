//! LocalSubjectAccessReview: may somebody do this in this namespace? Create-only.

use k8s_openapi::api::authorization::v1::LocalSubjectAccessReview;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct LocalSubjectAccessReviews;

impl Strategy for LocalSubjectAccessReviews {
    type Kind = LocalSubjectAccessReview;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::namespaced::<LocalSubjectAccessReview>("localsubjectaccessreviews") }
    }

    crate::server::kinds::spec_and_status!();
}
