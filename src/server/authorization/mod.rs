//! Who may do what: authorizers, each with an opinion or none, asked in upstream's order.
//!
//! Members of `system:masters` may do everything; then the node authorizer and RBAC are asked. Both
//! follow the store, and a decision always sees every write that was acknowledged before it was
//! asked for. Called by `http` for every request, by reviews, and by admission plugins that ask
//! about more than the request itself. Never changes anything.

mod follow;
pub mod node;
pub mod policy;
pub mod rbac;
pub mod rules;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::api::gvk::GroupResource;
use crate::api::status::Failure;
pub use crate::server::http::route::RequestInfo;
use crate::server::pipeline::user::User;
use crate::store::Store;

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// With what audit logs tell of it.
    Allow(String),
    /// Nobody allowed it; with a reason where there is one.
    Deny(String),
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
    Failure::forbidden(about, request.target(), &why)
}

/// What somebody may do in a namespace, as far as it can be listed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Granted {
    pub rules: Vec<PolicyRule>,
    /// Something may be allowed that is not among the rules.
    pub incomplete: bool,
    pub errors: Vec<String>,
}

/// Decides whether a user may do what a request asks.
#[async_trait]
pub trait Authorizer: Send + Sync + 'static {
    async fn authorize(&self, user: &User, request: &RequestInfo) -> Decision;

    /// The rules that apply to the user in the namespace.
    async fn rules_for(&self, _user: &User, _namespace: &str) -> Granted {
        Granted::default()
    }
}

/// What the server asks: the authorizers in their order.
pub struct Authorization(Vec<Arc<dyn Authorizer>>);

impl Authorization {
    /// Upstream's `--authorization-mode=Node,RBAC` behind the privileged group.
    pub fn standard(store: &Arc<dyn Store>) -> Self {
        let node = node::NodeAuthorizer::new(store.clone());
        Self(vec![Arc::new(Privileged), Arc::new(node), Arc::new(rbac::Rbac::new(store.clone()))])
    }
}

#[async_trait]
impl Authorizer for Authorization {
    async fn authorize(&self, user: &User, request: &RequestInfo) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(user, request).await {
                Decision::Deny(reason) if reason.is_empty() => {}
                Decision::Deny(reason) => reasons.push(reason),
                allowed => return allowed,
            }
        }
        Decision::Deny(reasons.join("\n"))
    }

    async fn rules_for(&self, user: &User, namespace: &str) -> Granted {
        let mut all = Granted::default();
        for authorizer in &self.0 {
            let granted = authorizer.rules_for(user, namespace).await;
            all.rules.extend(granted.rules);
            all.errors.extend(granted.errors);
            all.incomplete |= granted.incomplete;
        }
        all
    }
}

/// Lets the privileged group do everything, whatever roles say.
struct Privileged;

#[async_trait]
impl Authorizer for Privileged {
    async fn authorize(&self, user: &User, _: &RequestInfo) -> Decision {
        match user.in_group(MASTERS) {
            true => Decision::Allow(String::new()),
            false => Decision::Deny(String::new()),
        }
    }
}

/// Several errors as one, as apimachinery's `Aggregate` words them.
pub fn aggregate(errors: &[String]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for error in errors {
        if !seen.contains(&error.as_str()) {
            seen.push(error);
        }
    }
    match seen.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}
