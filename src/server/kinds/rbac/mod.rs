//! Kinds of rbac.authorization.k8s.io.

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

use k8s_openapi::api::rbac::v1::{RoleRef, Subject};

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
