//! RBAC: roles say what may be done, bindings say by whom. Nothing is ever forbidden, only not allowed.

mod index;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::PolicyRule;

use self::index::Index;
use super::follow::Follower;
use super::{Authorizer, Decision, Granted, aggregate};
use crate::server::http::route::RequestInfo;
use crate::server::pipeline::user::User;
use crate::store::Store;

/// The rules of one role, or why there are none.
type RoleRules = Result<Arc<[PolicyRule]>, String>;

pub struct Rbac {
    follower: Follower<Index>,
}

impl Rbac {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { follower: Follower::new(store) }
    }
}

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, user: &User, request: &RequestInfo) -> Decision {
        let decided = self.follower.ask(|index| index.authorize(user, request)).await;
        decided.unwrap_or_else(|error| Decision::Deny(format!("RBAC: {error}")))
    }

    async fn rules_for(&self, user: &User, namespace: &str) -> Granted {
        let found = self.follower.ask(|index| index.rules_for(user, namespace)).await;
        found.unwrap_or_else(|error| Granted { errors: vec![error.to_string()], ..Granted::default() })
    }
}

/// What a denial tells of roles that could not be read.
fn denied(errors: &[String]) -> Decision {
    match errors.is_empty() {
        true => Decision::Deny(String::new()),
        false => Decision::Deny(format!("RBAC: {}", aggregate(errors))),
    }
}
