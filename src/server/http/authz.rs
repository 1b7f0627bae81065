//! The one place where a request is allowed or not.

use async_trait::async_trait;

use super::authn::User;
use super::route::RequestInfo;
use crate::api::gvk::GroupResource;
use crate::api::status::{Failure, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow(String),
    /// Nobody allowed it; with a reason where there is one.
    Deny(String),
}

/// Decides whether a user may do what a request asks.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    async fn authorize(&self, user: &User, request: &RequestInfo) -> Decision;
}

/// What everybody may see: health, version and discovery (upstream's `system:public-info-viewer` and
/// `system:discovery`).
pub fn is_public(request: &RequestInfo) -> bool {
    let path = request.path.trim_end_matches('/');
    let under = |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    let reads = matches!(request.verb.as_str(), "get" | "head" | "options");
    let health = ["/healthz", "/livez", "/readyz"].iter().any(|root| under(root));
    let discovery = !request.is_resource && ["/api", "/apis", "/openapi"].iter().any(|root| under(root));
    reads && (health || discovery || path == "/version")
}

/// Lets in whoever is known. What the RBAC authorizer of a later version replaces.
pub struct AuthenticatedUsers;

#[async_trait]
impl Authorizer for AuthenticatedUsers {
    async fn authorize(&self, user: &User, request: &RequestInfo) -> Decision {
        match !user.is_anonymous() || is_public(request) {
            true => Decision::Allow(String::new()),
            false => Decision::Deny(String::new()),
        }
    }
}

/// The 403 of a denied request, in upstream's words.
pub fn denied(user: &User, request: &RequestInfo, reason: &str) -> Failure {
    let name = &user.name;
    let verb = &request.verb;
    let mut why = if request.is_resource {
        let resource = GroupResource { group: "", resource: &request.resource };
        let what = if request.subresource.is_empty() {
            resource.to_string()
        } else {
            format!("{resource}/{}", request.subresource)
        };
        let place = match request.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let group = &request.group;
        format!("User \"{name}\" cannot {verb} resource \"{what}\" in API group \"{group}\" {place}")
    } else {
        format!("User \"{name}\" cannot {verb} path \"{}\"", request.path)
    };
    if !reason.is_empty() {
        why = format!("{why}: {reason}");
    }
    let about = GroupResource { group: &request.group, resource: &request.resource };
    Failure::forbidden(about, &request.name, &why)
}

/// Ok or 403.
pub async fn check(authorizer: &dyn Authorizer, user: &User, request: &RequestInfo) -> Result<()> {
    match authorizer.authorize(user, request).await {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(denied(user, request, &reason)),
    }
}
