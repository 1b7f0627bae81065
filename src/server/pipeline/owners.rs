//! Owner references given twice are kept once, with a warning to who gave them.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::Context;

/// When a duplicate is found: as the client sent it (create and update), or as admission left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Sent,
    Admitted,
}

/// Drops references that are there already, equal in every field.
pub(super) fn dedup(context: &Context, meta: &mut ObjectMeta, when: When) {
    let Some(owners) = meta.owner_references.as_mut().filter(|owners| owners.len() > 1) else { return };
    let mut seen = HashSet::new();
    let mut repeated = Vec::new();
    owners.retain(|owner| {
        let OwnerReference { api_version, block_owner_deletion, controller, kind, name, uid } = owner.clone();
        let new = seen.insert((uid, name, kind, api_version, controller, block_owner_deletion));
        repeated.extend((!new).then(|| owner.uid.clone()));
        new
    });
    if repeated.is_empty() {
        return;
    }
    let when = if when == When::Sent { "" } else { " after mutating admission happens" };
    context.warn(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
        repeated.join(", ")
    ));
}
