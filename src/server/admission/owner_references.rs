//! OwnerReferencesPermissionEnforcement: who makes an object depend on another may delete the object, and
//! who makes the owner wait for it may change the owner's finalizers. Upstream has it, but not by default.

use async_trait::async_trait;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::{Attributes, Operation, Plugin};
use crate::api::gvk::split_api_version;
use crate::api::object::Object;
use crate::api::status::Result;
use crate::server::authorization::{Decision, RequestInfo};
use crate::server::catalog::catalog;

pub struct OwnerReferencesPermissionEnforcement;

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    async fn validate(&self, attributes: &Attributes<'_>, object: Option<&dyn Object>) -> Result<()> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        let Some(object) = object.filter(|_| writes) else { return Ok(()) };
        let context = attributes.context;
        let meta = context.kind.meta();
        // A pod's status cannot change its owners.
        if meta.plural == "pods" && meta.group.is_empty() && context.subresource == "status" {
            return Ok(());
        }
        let before = attributes.old.and_then(|old| old.meta().owner_references.as_deref()).unwrap_or_default();
        let after = object.meta().owner_references.as_deref().unwrap_or_default();
        if before == after {
            return Ok(());
        }
        let forbidden = |why: &str| attributes.forbidden(Some(object), why);
        if attributes.operation == Operation::Update {
            let delete = RequestInfo { verb: "delete".to_owned(), ..of_object(attributes) };
            if let Decision::Deny(reason) = context.decide(&delete).await {
                let why = format!("cannot set an ownerRef on a resource you can't delete: {reason}, <nil>");
                return Err(forbidden(&why));
            }
        }
        for owner in newly_blocking(before, after) {
            let finalize = finalizers_of(owner, &context.namespace).map_err(|why| forbidden(&why))?;
            if let Decision::Deny(reason) = context.decide(&finalize).await {
                let why = format!(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {reason}, <nil>"
                );
                return Err(forbidden(&why));
            }
        }
        Ok(())
    }
}

fn of_object(attributes: &Attributes<'_>) -> RequestInfo {
    let context = attributes.context;
    let meta = context.kind.meta();
    RequestInfo {
        is_resource: true,
        group: meta.group.to_owned(),
        version: meta.version.to_owned(),
        resource: meta.plural.to_owned(),
        subresource: context.subresource.clone(),
        namespace: context.namespace.clone(),
        name: context.name.clone(),
        ..RequestInfo::default()
    }
}

/// The owners that wait for the object now and did not before.
fn newly_blocking<'a>(
    before: &'a [OwnerReference],
    after: &'a [OwnerReference],
) -> impl Iterator<Item = &'a OwnerReference> {
    let blocks = |owner: &OwnerReference| owner.block_owner_deletion == Some(true);
    let blocked = move |uid: &str| before.iter().any(|owner| owner.uid == uid && blocks(owner));
    after.iter().filter(move |owner| blocks(owner) && !blocked(&owner.uid))
}

/// The update of an owner's finalizers; it is in the dependent's namespace or in none.
fn finalizers_of(owner: &OwnerReference, namespace: &str) -> std::result::Result<RequestInfo, String> {
    let OwnerReference { api_version, kind, .. } = owner;
    let found = split_api_version(api_version)
        .and_then(|(group, version)| catalog().find_kind(group, version, kind))
        .ok_or_else(|| {
            let missing = format!("no matches for kind {kind:?} in version {api_version:?}");
            format!(
                "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} Kind {kind}: {missing}"
            )
        })?;
    let meta = found.meta();
    Ok(RequestInfo {
        is_resource: true,
        verb: "update".to_owned(),
        group: meta.group.to_owned(),
        version: meta.version.to_owned(),
        resource: meta.plural.to_owned(),
        subresource: "finalizers".to_owned(),
        namespace: if meta.namespaced { namespace.to_owned() } else { String::new() },
        name: owner.name.clone(),
        ..RequestInfo::default()
    })
}
