//! ClusterRoleBinding: grants a ClusterRole everywhere.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};
use crate::server::validation::json;

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
            Column::string("Role", "The role that is granted."),
            Column::AGE,
            Column::string("Users", "Users in the binding").wide(),
            Column::string("Groups", "Groups in the binding").wide(),
            Column::string("ServiceAccounts", "ServiceAccounts in the binding").wide(),
        ];
        COLUMNS
    }

    fn cells(&self, object: &ClusterRoleBinding, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let [users, groups, accounts] = super::subjects(object.subjects.as_deref().unwrap_or_default());
        Some(vec![
            cell::name(&object.metadata),
            format!("{}/{}", object.role_ref.kind, object.role_ref.name).into(),
            cell::age(&object.metadata, now),
            users,
            groups,
            accounts,
        ])
    }

    fn validate(&self, new: &ClusterRoleBinding, old: Option<&ClusterRoleBinding>) -> Errors {
        let mut errors = Errors::new();
        super::binding(&mut errors, &new.role_ref, new.subjects.as_deref().unwrap_or_default(), false);
        if old.is_some_and(|old| old.role_ref != new.role_ref) {
            errors.push(Error::invalid(&Path::new("roleRef"), json(&new.role_ref), "cannot change roleRef"));
        }
        errors
    }
}
