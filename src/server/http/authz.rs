//! The one place where a request is allowed or not.

use super::authn::User;
use super::route::RequestInfo;
use crate::api::gvk::GroupResource;
use crate::api::status::{Failure, Result};
pub use crate::server::authorization::{Authorizer, Decision};

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
    Failure::forbidden(about, request.target(), &why)
}

/// Ok or 403.
pub fn settle(decision: Decision, user: &User, request: &RequestInfo) -> Result<()> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(denied(user, request, &reason)),
    }
}
