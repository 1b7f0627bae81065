//! Reviews of access: questions to the authorizer, asked by POST and stored nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
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
    Access,
    LocalAccess,
    SelfAccess,
    SelfRules,
}

pub fn add(all: &mut Subresources) {
    let authorization = "authorization.k8s.io";
    all.add(authorization, "subjectaccessreviews", "", Arc::new(Review::Access));
    all.add(authorization, "localsubjectaccessreviews", "", Arc::new(Review::LocalAccess));
    all.add(authorization, "selfsubjectaccessreviews", "", Arc::new(Review::SelfAccess));
    all.add(authorization, "selfsubjectrulesreviews", "", Arc::new(Review::SelfRules));
}

#[async_trait]
impl Handler for Review {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        match self {
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
