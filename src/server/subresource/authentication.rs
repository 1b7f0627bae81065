//! Reviews of identity: whose token is this, and who am I? Asked by POST and stored nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};

use super::{Call, Handler, Subresources};
use crate::api::status::{Failure, Result};
use crate::server::http::authn::{Authenticator, Notes, User};
use crate::server::http::body::Body;

const GROUP: &str = "authentication.k8s.io";

pub fn add(all: &mut Subresources) {
    all.add(GROUP, "tokenreviews", "", Arc::new(TokenReviews));
    all.add(GROUP, "selfsubjectreviews", "", Arc::new(SelfSubjectReviews));
}

struct TokenReviews;

#[async_trait]
impl Handler for TokenReviews {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let (asked, mut review) = call.decode::<TokenReview>().await?;
        if review.spec.token.is_empty() {
            return Err(Failure::bad_request("token is required for TokenReview in authentication"));
        }
        let wanted = review.spec.audiences.as_deref().unwrap_or_default();
        let mut notes = Notes::default();
        review.status = Some(status(asked.server.authenticator(), &review.spec.token, wanted, &mut notes));
        notes.warnings.into_iter().for_each(|warning| asked.context.warn(warning));
        notes.annotations.into_iter().for_each(|(key, value)| asked.context.annotate(key, value));
        asked.answer(201, &review)
    }
}

/// What the authenticator says of a token; without `wanted`, of its use with the API server.
fn status(authenticator: &Authenticator, token: &str, wanted: &[String], notes: &mut Notes) -> TokenReviewStatus {
    let wanted = if wanted.is_empty() { authenticator.audiences() } else { wanted };
    match authenticator.token(token, wanted, notes) {
        Ok(found) => TokenReviewStatus {
            authenticated: Some(true),
            user: Some(info(&found.user)),
            audiences: (!found.audiences.is_empty()).then_some(found.audiences),
            error: None,
        },
        // Upstream leaves `authenticated` out where it is false; `user` is there, and empty.
        Err(refused) => TokenReviewStatus {
            user: Some(UserInfo::default()),
            error: Some(refused.to_string()),
            ..TokenReviewStatus::default()
        },
    }
}

struct SelfSubjectReviews;

#[async_trait]
impl Handler for SelfSubjectReviews {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        let (asked, mut review) = call.decode::<SelfSubjectReview>().await?;
        review.metadata.creation_timestamp = Some(crate::server::pipeline::meta::now());
        review.status = Some(SelfSubjectReviewStatus { user_info: Some(info(&asked.context.user)) });
        asked.answer(201, &review)
    }
}

fn info(user: &User) -> UserInfo {
    UserInfo {
        username: Some(user.name.clone()),
        uid: (!user.uid.is_empty()).then(|| user.uid.clone()),
        groups: Some(user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
    }
}
