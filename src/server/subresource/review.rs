//! Reviews: questions to the authenticator and the authorizer, asked by POST and stored nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes, ResourceRule,
    SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewStatus,
    SubjectRulesReviewStatus,
};

use super::{Call, Handler, Subresources};
use crate::api::status::{Failure, Result};
use crate::server::http::authn::User;
use crate::server::http::authz::Decision;
use crate::server::http::body::Body;
use crate::server::http::route::RequestInfo;

/// The kinds of review.
#[derive(Clone, Copy)]
enum Review {
    Token,
    SelfSubject,
    Access,
    LocalAccess,
    SelfAccess,
    SelfRules,
}

pub fn add(all: &mut Subresources) {
    let authentication = "authentication.k8s.io";
    let authorization = "authorization.k8s.io";
    all.add(authentication, "tokenreviews", "", Arc::new(Review::Token));
    all.add(authentication, "selfsubjectreviews", "", Arc::new(Review::SelfSubject));
    all.add(authorization, "subjectaccessreviews", "", Arc::new(Review::Access));
    all.add(authorization, "localsubjectaccessreviews", "", Arc::new(Review::LocalAccess));
    all.add(authorization, "selfsubjectaccessreviews", "", Arc::new(Review::SelfAccess));
    all.add(authorization, "selfsubjectrulesreviews", "", Arc::new(Review::SelfRules));
}

#[async_trait]
impl Handler for Review {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        match self {
            Self::Token => token(call).await,
            Self::SelfSubject => {
                let (asked, mut review) = call.decode::<SelfSubjectReview>("SelfSubjectReview").await?;
                let user_info = Some(info(&asked.context.user));
                review.status = Some(SelfSubjectReviewStatus { user_info });
                asked.answer(201, &review)
            }
            Self::Access => {
                let (asked, mut review) = call.decode::<SubjectAccessReview>("SubjectAccessReview").await?;
                review.status = Some(access(&asked.server, &review.spec).await?);
                asked.answer(201, &review)
            }
            Self::LocalAccess => {
                let (asked, mut review) = call.decode::<LocalSubjectAccessReview>("LocalSubjectAccessReview").await?;
                let attributes = review.spec.resource_attributes.as_ref();
                let namespace = attributes.and_then(|a| a.namespace.as_deref()).unwrap_or_default();
                if namespace != asked.context.namespace {
                    return Err(Failure::bad_request(format!(
                        "spec.resourceAttributes.namespace must match namespace: {}",
                        asked.context.namespace
                    )));
                }
                review.status = Some(access(&asked.server, &review.spec).await?);
                asked.answer(201, &review)
            }
            Self::SelfAccess => {
                let (asked, mut review) = call.decode::<SelfSubjectAccessReview>("SelfSubjectAccessReview").await?;
                let spec = &review.spec;
                let (resource, path) = (spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
                let decision = asked.server.decide(&asked.context.user, &request(resource, path)?).await;
                review.status = Some(status(decision));
                asked.answer(201, &review)
            }
            Self::SelfRules => {
                let (asked, mut review) = call.decode::<SelfSubjectRulesReview>("SelfSubjectRulesReview").await?;
                review.status = Some(rules());
                asked.answer(201, &review)
            }
        }
    }
}

/// Every known user may do everything until there are roles.
fn rules() -> SubjectRulesReviewStatus {
    let all = || Some(vec!["*".to_owned()]);
    let star = || vec!["*".to_owned()];
    SubjectRulesReviewStatus {
        resource_rules: vec![ResourceRule { api_groups: all(), resources: all(), verbs: star(), resource_names: None }],
        non_resource_rules: vec![NonResourceRule { non_resource_urls: all(), verbs: star() }],
        ..Default::default()
    }
}

async fn token(call: Call) -> Result<Response<Body>> {
    let (asked, mut review) = call.decode::<TokenReview>("TokenReview").await?;
    let text = review.spec.token.clone();
    if text.is_empty() {
        return Err(Failure::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = review.spec.audiences.clone().unwrap_or_default();
    review.status = Some(match asked.server.authenticate_token(&text, &audiences) {
        Some(user) => TokenReviewStatus {
            authenticated: Some(true),
            user: Some(info(&user)),
            audiences: (!audiences.is_empty()).then_some(audiences),
            error: None,
        },
        None => TokenReviewStatus {
            authenticated: Some(false),
            error: Some("invalid bearer token".to_owned()),
            ..Default::default()
        },
    });
    asked.answer(201, &review)
}

fn info(user: &User) -> UserInfo {
    UserInfo {
        username: Some(user.name.clone()),
        uid: (!user.uid.is_empty()).then(|| user.uid.clone()),
        groups: Some(user.groups.clone()),
        extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
    }
}

async fn access(
    server: &crate::server::http::ApiServer,
    spec: &k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec,
) -> Result<SubjectAccessReviewStatus> {
    let user = User {
        name: spec.user.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    if user.name.is_empty() && user.groups.is_empty() {
        return Err(Failure::bad_request(
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ));
    }
    let request = request(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref())?;
    Ok(status(server.decide(&user, &request).await))
}

fn request(resource: Option<&ResourceAttributes>, path: Option<&NonResourceAttributes>) -> Result<RequestInfo> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    match (resource, path) {
        (Some(resource), None) => Ok(RequestInfo {
            is_resource: true,
            verb: text(&resource.verb),
            group: text(&resource.group),
            version: text(&resource.version),
            namespace: text(&resource.namespace),
            resource: text(&resource.resource),
            subresource: text(&resource.subresource),
            name: text(&resource.name),
            ..Default::default()
        }),
        (None, Some(path)) => Ok(RequestInfo { path: text(&path.path), verb: text(&path.verb), ..Default::default() }),
        _ => Err(Failure::bad_request("exactly one of nonResourceAttributes or resourceAttributes must be specified")),
    }
}

fn status(decision: Decision) -> SubjectAccessReviewStatus {
    let (allowed, reason) = match decision {
        Decision::Allow(reason) => (true, reason),
        Decision::Deny(reason) => (false, reason),
    };
    SubjectAccessReviewStatus { allowed, reason: (!reason.is_empty()).then_some(reason), ..Default::default() }
}
