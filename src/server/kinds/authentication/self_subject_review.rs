//! SelfSubjectReview: who am I? Create-only; answered by the API server.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct SelfSubjectReviews;

impl Strategy for SelfSubjectReviews {
    type Kind = SelfSubjectReview;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::cluster::<SelfSubjectReview>("selfsubjectreviews") }
    }
}
