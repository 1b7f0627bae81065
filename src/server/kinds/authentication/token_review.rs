//! TokenReview: whose token is this? Create-only; answered by the API server.

use k8s_openapi::api::authentication::v1::TokenReview;

use crate::server::strategy::{Meta, Strategy, Verb};

pub struct TokenReviews;

impl Strategy for TokenReviews {
    type Kind = TokenReview;

    fn meta(&self) -> Meta {
        Meta { verbs: &[Verb::Create], ..Meta::cluster::<TokenReview>("tokenreviews") }
    }

    crate::server::kinds::spec_and_status!();
}
