//! SelfSubjectRulesReview: what may I do in a namespace? Create-only.

use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct SelfSubjectRulesReviews;

impl Strategy for SelfSubjectRulesReviews {
    type Kind = SelfSubjectRulesReview;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::cluster::<SelfSubjectRulesReview>("selfsubjectrulesreviews") }
    }

    crate::server::kinds::spec_and_status!();
}
