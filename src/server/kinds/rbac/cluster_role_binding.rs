//! ClusterRoleBinding: grants a ClusterRole everywhere.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use serde_json::Value;

use crate::api::field::Errors;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};

pub struct ClusterRoleBindings;

impl Strategy for ClusterRoleBindings {
    type Kind = ClusterRoleBinding;

    fn meta(&self) -> Meta {
        Meta {
            create_on_update: true,
            names: NameRule::PathSegment,
            ..Meta::cluster::<ClusterRoleBinding>("clusterrolebindings")
        }
    }

    fn default(&self, object: &mut ClusterRoleBinding) {
        super::complete(&mut object.role_ref, object.subjects.as_deref_mut().unwrap_or_default());
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Role",
                "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error. This field is immutable.",
            ),
            Column::AGE,
            Column::string("Users", "Users in the clusterRoleBinding").wide(),
            Column::string("Groups", "Groups in the clusterRoleBinding").wide(),
            Column::string("ServiceAccounts", "ServiceAccounts in the clusterRoleBinding").wide(),
        ];
        COLUMNS
    }

    fn cells(&self, object: &ClusterRoleBinding, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let subjects = object.subjects.as_deref().unwrap_or_default();
        Some(super::binding_cells(&object.metadata, &object.role_ref, subjects, now))
    }

    fn validate(&self, new: &ClusterRoleBinding, old: Option<&ClusterRoleBinding>) -> Errors {
        let mut errors = Errors::new();
        super::binding(&mut errors, &new.role_ref, new.subjects.as_deref().unwrap_or_default(), false);
        super::same_role(&mut errors, &new.role_ref, old.map(|old| &old.role_ref));
        errors
    }
}
