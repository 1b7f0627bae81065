//! Access reviews: may this user, or may I, do this; and what may I do at all. Asked by POST, answered by
//! the authorizers, stored nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;
use k8s_openapi::api::authorization::v1::{
    FieldSelectorAttributes, LabelSelectorAttributes, LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule,
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldSelectorRequirement, ObjectMeta};

use super::{Asked, Call, Handler, Subresources};
use crate::api::field::{Error, Errors, Path};
use crate::api::gvk::GroupKind;
use crate::api::selector::{FieldSelector, LabelSelector};
use crate::api::status::{Failure, Result};
use crate::server::authorization::{self, Authorizer, Decision, Granted};
use crate::server::http::authn::User;
use crate::server::http::body::Body;
use crate::server::http::route::RequestInfo;
use crate::server::pipeline::meta;
use crate::server::validation::json;

const GROUP: &str = "authorization.k8s.io";

#[derive(Clone, Copy)]
enum Review {
    Access,
    LocalAccess,
    SelfAccess,
    SelfRules,
}

pub fn add(all: &mut Subresources) {
    all.add(GROUP, "subjectaccessreviews", "", Arc::new(Review::Access));
    all.add(GROUP, "localsubjectaccessreviews", "", Arc::new(Review::LocalAccess));
    all.add(GROUP, "selfsubjectaccessreviews", "", Arc::new(Review::SelfAccess));
    all.add(GROUP, "selfsubjectrulesreviews", "", Arc::new(Review::SelfRules));
}

#[async_trait]
impl Handler for Review {
    async fn serve(&self, call: Call) -> Result<Response<Body>> {
        match self {
            Self::Access => {
                let (asked, mut review) = call.decode::<SubjectAccessReview>().await?;
                begin(&asked, &mut review.metadata)?;
                let mut errors = check_spec(&review.spec);
                check_metadata(&mut errors, &review.metadata, "must be empty");
                refuse(&errors)?;
                review.status = Some(access(&asked, &review.spec).await);
                asked.answer(201, &review)
            }
            Self::LocalAccess => {
                let (asked, mut review) = call.decode::<LocalSubjectAccessReview>().await?;
                begin(&asked, &mut review.metadata)?;
                refuse(&check_local(&review))?;
                review.status = Some(access(&asked, &review.spec).await);
                asked.answer(201, &review)
            }
            Self::SelfAccess => {
                let (asked, mut review) = call.decode::<SelfSubjectAccessReview>().await?;
                begin(&asked, &mut review.metadata)?;
                let (resource, path) = (&review.spec.resource_attributes, &review.spec.non_resource_attributes);
                let mut errors = check_attributes(resource.as_ref(), path.as_ref());
                check_metadata(&mut errors, &review.metadata, "must be empty");
                refuse(&errors)?;
                review.status = Some(decide(&asked, &asked.context.user, resource.as_ref(), path.as_ref()).await);
                asked.answer(201, &review)
            }
            Self::SelfRules => {
                let (asked, mut review) = call.decode::<SelfSubjectRulesReview>().await?;
                let namespace = review.spec.namespace.as_deref().unwrap_or_default();
                if namespace.is_empty() {
                    return Err(Failure::bad_request("no namespace on request"));
                }
                let granted = asked.server.authorization().rules_for(&asked.context.user, namespace).await;
                review.status = Some(listed(granted));
                asked.answer(201, &review)
            }
        }
    }
}

/// The namespace of a namespaced review is its path's.
fn begin(asked: &Asked, metadata: &mut ObjectMeta) -> Result<()> {
    meta::settle_namespace(metadata, asked.context.kind.meta(), &asked.context.namespace)
}

/// 422. Upstream has forgotten the kind by then.
fn refuse(errors: &Errors) -> Result<()> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Failure::invalid(GroupKind { group: GROUP, kind: "" }, "", errors)),
    }
}

fn check_metadata(errors: &mut Errors, metadata: &ObjectMeta, why: &str) {
    let without_managers = ObjectMeta { managed_fields: None, ..metadata.clone() };
    if without_managers != ObjectMeta::default() {
        errors.push(Error::invalid(&Path::new("metadata"), json(metadata), why));
    }
}

fn check_spec(spec: &SubjectAccessReviewSpec) -> Errors {
    let mut errors = check_attributes(spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref());
    let user = spec.user.as_deref().unwrap_or_default();
    if user.is_empty() && spec.groups.as_ref().is_none_or(Vec::is_empty) {
        let path = Path::new("spec").child("user");
        errors.push(Error::invalid(&path, user, "at least one of user or group must be specified"));
    }
    errors
}

fn check_local(review: &LocalSubjectAccessReview) -> Errors {
    let mut errors = check_spec(&review.spec);
    let without_namespace = ObjectMeta { namespace: None, ..review.metadata.clone() };
    check_metadata(&mut errors, &without_namespace, "must be empty except for namespace");
    let path = Path::new("spec");
    if let Some(attributes) = &review.spec.resource_attributes {
        let namespace = attributes.namespace.as_deref().unwrap_or_default();
        if Some(namespace) != review.metadata.namespace.as_deref() {
            let path = path.child("resourceAttributes").child("namespace");
            errors.push(Error::invalid(&path, namespace, "must match metadata.namespace"));
        }
    }
    if let Some(attributes) = &review.spec.non_resource_attributes {
        let path = path.child("nonResourceAttributes");
        errors.push(Error::invalid(&path, json(attributes), "disallowed on this kind of request"));
    }
    errors
}

fn check_attributes(resource: Option<&ResourceAttributes>, path: Option<&NonResourceAttributes>) -> Errors {
    let mut errors = Errors::new();
    let spec = Path::new("spec");
    let resource_path = spec.child("resourceAttributes");
    match (resource, path) {
        (Some(_), Some(path)) => errors.push(Error::invalid(
            &spec.child("nonResourceAttributes"),
            json(path),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => errors.push(Error::invalid(
            &resource_path,
            serde_json::Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    if let Some(selector) = resource.and_then(|resource| resource.field_selector.as_ref()) {
        let here = resource_path.child("fieldSelector");
        let requirements = selector.requirements.iter().flatten();
        let parts = requirements.map(|one| (&*one.key, &*one.operator, one.values.as_ref().map_or(0, Vec::len)));
        check_selector(&mut errors, &here, selector.raw_selector.as_deref(), parts.collect());
    }
    if let Some(selector) = resource.and_then(|resource| resource.label_selector.as_ref()) {
        let here = resource_path.child("labelSelector");
        let requirements = selector.requirements.iter().flatten();
        let parts = requirements.map(|one| (&*one.key, &*one.operator, one.values.as_ref().map_or(0, Vec::len)));
        check_selector(&mut errors, &here, selector.raw_selector.as_deref(), parts.collect());
    }
    errors
}

/// The requirements are given by key, operator and how many values they have.
fn check_selector(errors: &mut Errors, path: &Path, raw: Option<&str>, requirements: Vec<(&str, &str, usize)>) {
    let raw = raw.unwrap_or_default();
    if !raw.is_empty() && !requirements.is_empty() {
        let why = "may not specified at the same time as requirements";
        errors.push(Error::invalid(&path.child("rawSelector"), raw, why));
    }
    if raw.is_empty() && requirements.is_empty() {
        let why = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(Error::required(&path.child("requirements"), why));
    }
    for (at, (key, operator, values)) in requirements.into_iter().enumerate() {
        check_requirement(errors, &path.child("requirements").index(at), key, operator, values);
    }
}

/// Operators that this version does not know are let through: the requirement is left out later.
fn check_requirement(errors: &mut Errors, path: &Path, key: &str, operator: &str, values: usize) {
    if key.is_empty() {
        errors.push(Error::required(&path.child("key"), "must be specified"));
    }
    match operator {
        "In" | "NotIn" if values == 0 => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(Error::required(&path.child("values"), why));
        }
        "Exists" | "DoesNotExist" if values > 0 => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&path.child("values"), why));
        }
        _ => {}
    }
}

async fn access(asked: &Asked, spec: &SubjectAccessReviewSpec) -> SubjectAccessReviewStatus {
    let user = User {
        name: spec.user.clone().unwrap_or_default(),
        uid: spec.uid.clone().unwrap_or_default(),
        groups: spec.groups.clone().unwrap_or_default(),
        extra: spec.extra.clone().unwrap_or_default(),
    };
    decide(asked, &user, spec.resource_attributes.as_ref(), spec.non_resource_attributes.as_ref()).await
}

async fn decide(
    asked: &Asked,
    user: &User,
    resource: Option<&ResourceAttributes>,
    path: Option<&NonResourceAttributes>,
) -> SubjectAccessReviewStatus {
    let (request, errors) = request(resource, path);
    let (allowed, reason) = match asked.server.decide(user, &request).await {
        Decision::Allow(reason) => (true, reason),
        Decision::Deny(reason) => (false, reason),
    };
    SubjectAccessReviewStatus {
        allowed,
        denied: None,
        reason: (!reason.is_empty()).then_some(reason),
        evaluation_error: (!errors.is_empty()).then(|| authorization::aggregate(&errors)),
    }
}

/// What would be asked, and what of its selectors could not be understood.
fn request(resource: Option<&ResourceAttributes>, path: Option<&NonResourceAttributes>) -> (RequestInfo, Vec<String>) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let Some(resource) = resource else {
        let (path, verb) = path.map(|asked| (text(&asked.path), text(&asked.verb))).unwrap_or_default();
        return (RequestInfo { path, verb, ..RequestInfo::default() }, Vec::new());
    };
    let mut errors = Vec::new();
    let fields = resource.field_selector.as_ref().map(|selector| field_selector(selector, &mut errors));
    if let Some(selector) = &resource.label_selector {
        check_labels(selector, &mut errors);
    }
    let request = RequestInfo {
        is_resource: true,
        verb: text(&resource.verb),
        group: text(&resource.group),
        version: text(&resource.version),
        namespace: text(&resource.namespace),
        resource: text(&resource.resource),
        subresource: text(&resource.subresource),
        name: text(&resource.name),
        field_selector: fields.unwrap_or_default(),
        ..RequestInfo::default()
    };
    (request, errors)
}

fn ignored(what: &str, partially: bool) -> String {
    let how = if partially { "partially ignored" } else { "ignored" };
    format!("spec.resourceAttributes.{what} {how} due to parse error")
}

/// The selector as text, without the requirements that field selectors cannot say.
fn field_selector(selector: &FieldSelectorAttributes, errors: &mut Vec<String>) -> String {
    if let Some(raw) = selector.raw_selector.as_ref().filter(|raw| !raw.is_empty()) {
        if FieldSelector::parse(raw).is_ok() {
            return raw.clone();
        }
        errors.push(ignored("fieldSelector", false));
        return String::new();
    }
    let requirements = selector.requirements.as_deref().unwrap_or_default();
    let terms: Vec<String> = requirements.iter().filter_map(term).collect();
    if terms.len() < requirements.len() {
        errors.push(ignored("fieldSelector", !terms.is_empty()));
    }
    terms.join(",")
}

fn term(requirement: &FieldSelectorRequirement) -> Option<String> {
    let operator = match requirement.operator.as_str() {
        "In" => "=",
        "NotIn" => "!=",
        _ => return None,
    };
    let [value] = requirement.values.as_deref()? else { return None };
    let value = value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
    Some(format!("{}{operator}{value}", requirement.key))
}

/// No authorizer looks at labels, but who asks wants to know what was not understood.
fn check_labels(selector: &LabelSelectorAttributes, errors: &mut Vec<String>) {
    if selector.raw_selector.as_ref().is_some_and(|raw| !raw.is_empty() && LabelSelector::parse(raw).is_err()) {
        errors.push(ignored("labelSelector", false));
    }
    let requirements = selector.requirements.as_deref().unwrap_or_default();
    let known = |operator: &str| matches!(operator, "In" | "NotIn" | "Exists" | "DoesNotExist");
    let understood = requirements.iter().filter(|requirement| known(&requirement.operator)).count();
    if understood < requirements.len() {
        errors.push(ignored("labelSelector", understood > 0));
    }
}

fn listed(granted: Granted) -> SubjectRulesReviewStatus {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    let mut status = SubjectRulesReviewStatus {
        incomplete: granted.incomplete,
        evaluation_error: (!granted.errors.is_empty()).then(|| authorization::aggregate(&granted.errors)),
        ..SubjectRulesReviewStatus::default()
    };
    for rule in granted.rules {
        if !is_empty(&rule.non_resource_urls) {
            let rule = NonResourceRule { verbs: rule.verbs.clone(), non_resource_urls: rule.non_resource_urls.clone() };
            status.non_resource_rules.push(rule);
        }
        if !is_empty(&rule.resources) {
            status.resource_rules.push(ResourceRule {
                verbs: rule.verbs,
                api_groups: rule.api_groups,
                resources: rule.resources,
                resource_names: rule.resource_names,
            });
        }
    }
    status
}
