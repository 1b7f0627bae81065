//! The one place where a request is allowed or not.

use super::authn::User;
use super::route::RequestInfo;
use crate::api::status::Result;
pub use crate::server::authorization::{Authorizer, Decision, denied};

/// Ok or 403.
pub fn settle(decision: Decision, user: &User, request: &RequestInfo) -> Result<()> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) => Err(denied(user, request, &reason)),
    }
}
