//! Kinds of rbac.authorization.k8s.io.

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

use k8s_openapi::api::rbac::v1::{RoleRef, Subject};
use serde_json::Value;

use crate::server::kinds::defaults::text;

pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The API groups that a binding leaves out.
fn complete(role: &mut RoleRef, subjects: &mut [Subject]) {
    text(&mut role.api_group, GROUP);
    for subject in subjects {
        match subject.kind.as_str() {
            "User" | "Group" => text(&mut subject.api_group, GROUP),
            _ => {}
        }
    }
}

/// Who is bound: users, groups and service accounts, as three cells.
fn subjects(subjects: &[Subject]) -> [Value; 3] {
    let of = |kind: &str| {
        let named = subjects.iter().filter(|subject| subject.kind == kind);
        let names = named.map(|subject| match (kind, &subject.namespace) {
            ("ServiceAccount", Some(namespace)) => format!("{namespace}/{}", subject.name),
            _ => subject.name.clone(),
        });
        Value::from(names.collect::<Vec<_>>().join(", "))
    };
    [of("User"), of("Group"), of("ServiceAccount")]
}
