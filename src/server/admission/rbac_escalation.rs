//! Nobody rises by roles: who writes a role must hold its rights already or be allowed to `escalate`,
//! and who binds one must hold its rights or be allowed to `bind` it.
//!
//! Upstream asks this in the registries of the four kinds, between mutating admission and validation: so does
//! the chain, where this is the last of those that may change something. It changes nothing.

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef};

use super::{Attributes, Plugin};
use crate::api::gvk::GroupResource;
use crate::api::object::Object;
use crate::api::status::{Failure, Result};
use crate::server::authorization::{Decision, MASTERS, RequestInfo, aggregate, rules};

pub struct RbacEscalation;

const GROUP: &str = "rbac.authorization.k8s.io";

#[async_trait]
impl Plugin for RbacEscalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    async fn admit(&self, attributes: &Attributes<'_>, object: &mut dyn Object) -> Result<()> {
        let context = attributes.context;
        let ours = context.kind.meta().group == GROUP;
        if !ours || context.user.in_group(MASTERS) || changes_only_what_collects_garbage(attributes, object) {
            return Ok(());
        }
        if let Some(role) = object.downcast_ref::<Role>() {
            return check_role(attributes, object, role.rules.as_deref().unwrap_or_default()).await;
        }
        if let Some(role) = object.downcast_ref::<ClusterRole>() {
            return check_cluster_role(attributes, object, role).await;
        }
        if let Some(binding) = object.downcast_ref::<RoleBinding>() {
            return check_binding(attributes, object, &binding.role_ref).await;
        }
        match object.downcast_ref::<ClusterRoleBinding>() {
            Some(binding) => check_binding(attributes, object, &binding.role_ref).await,
            None => Ok(()),
        }
    }
}

/// Finalizers and owners may go whatever the role allows: the collector need not hold its rights.
fn changes_only_what_collects_garbage(attributes: &Attributes<'_>, object: &dyn Object) -> bool {
    let Some(old) = attributes.old else { return false };
    let mut copy = object.boxed_clone();
    let (meta, before) = (copy.meta_mut(), old.meta());
    meta.owner_references.clone_from(&before.owner_references);
    meta.finalizers.clone_from(&before.finalizers);
    meta.managed_fields.clone_from(&before.managed_fields);
    attributes.context.kind.equal(copy.as_ref(), old)
}

async fn check_role(attributes: &Attributes<'_>, object: &dyn Object, rules: &[PolicyRule]) -> Result<()> {
    let context = attributes.context;
    let meta = context.kind.meta();
    let escalate = RequestInfo {
        verb: "escalate".to_owned(),
        group: meta.group.to_owned(),
        resource: meta.plural.to_owned(),
        name: context.name.clone(),
        namespace: context.namespace.clone(),
        is_resource: true,
        ..RequestInfo::default()
    };
    match context.decide(&escalate).await {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(_) => confirm(attributes, object, rules).await,
    }
}

async fn check_cluster_role(attributes: &Attributes<'_>, object: &dyn Object, role: &ClusterRole) -> Result<()> {
    check_role(attributes, object, role.rules.as_deref().unwrap_or_default()).await?;
    let before = attributes.old.and_then(|old| old.downcast_ref::<ClusterRole>());
    let aggregates = |role: &ClusterRole| {
        let selectors = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
        selectors.is_some_and(|selectors| !selectors.is_empty())
    };
    if !aggregates(role) && !before.is_some_and(aggregates) {
        return Ok(());
    }
    // It can gather anything.
    match confirm(attributes, object, &everything()).await {
        Ok(()) => Ok(()),
        Err(_) => {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            Err(Failure::forbidden(attributes.context.kind.meta().resource(), object.name(), why))
        }
    }
}

/// All verbs on all resources, and on all paths.
fn everything() -> [PolicyRule; 2] {
    let all = || vec!["*".to_owned()];
    [
        PolicyRule { verbs: all(), api_groups: Some(all()), resources: Some(all()), ..PolicyRule::default() },
        PolicyRule { verbs: all(), non_resource_urls: Some(all()), ..PolicyRule::default() },
    ]
}

async fn check_binding(attributes: &Attributes<'_>, object: &dyn Object, role: &RoleRef) -> Result<()> {
    let context = attributes.context;
    let resource = match role.kind.as_str() {
        "ClusterRole" => "clusterroles",
        "Role" => "roles",
        other => return Err(Failure::new(500, "", format!("unsupported role reference kind: {other:?}"))),
    };
    let bind = RequestInfo {
        verb: "bind".to_owned(),
        group: role.api_group.clone().unwrap_or_default(),
        resource: resource.to_owned(),
        name: role.name.clone(),
        namespace: context.namespace.clone(),
        is_resource: true,
        ..RequestInfo::default()
    };
    if let Decision::Allow(_) = context.decide(&bind).await {
        return Ok(());
    }
    let rules = match resource {
        "roles" => attributes.reader.get::<Role>(&context.namespace, &role.name)?.map(|role| role.rules),
        _ => attributes.reader.get::<ClusterRole>("", &role.name)?.map(|role| role.rules),
    };
    let rules = rules.ok_or_else(|| Failure::not_found(GroupResource { group: GROUP, resource }, &role.name))?;
    confirm(attributes, object, rules.as_deref().unwrap_or_default()).await
}

/// Ok where the user's own rules, where the object will be, cover these.
async fn confirm(attributes: &Attributes<'_>, object: &dyn Object, wanted: &[PolicyRule]) -> Result<()> {
    let context = attributes.context;
    let user = &context.user;
    let granted = match &context.authorizer {
        Some(authorizer) => authorizer.rules_for(user, &context.namespace).await,
        None => Default::default(),
    };
    let missing = rules::missing(&granted.rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        rules::quoted(&user.groups),
        rules::describe(&missing)
    );
    if !granted.errors.is_empty() {
        why.push_str(&format!("; resolution errors: [{}]", aggregate(&granted.errors)));
    }
    Err(Failure::forbidden(context.kind.meta().resource(), object.name(), &why))
}
