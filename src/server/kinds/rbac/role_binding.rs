//! RoleBinding: grants a role in one namespace.

use k8s_openapi::api::rbac::v1::RoleBinding;

use crate::server::strategy::{Meta, NameRule, Strategy};

pub struct RoleBindings;

impl Strategy for RoleBindings {
    type Kind = RoleBinding;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, names: NameRule::PathSegment, ..Meta::namespaced::<RoleBinding>("rolebindings") }
    }

    fn default(&self, object: &mut RoleBinding) {
        super::complete(&mut object.role_ref, object.subjects.as_deref_mut().unwrap_or_default());
    }
}
