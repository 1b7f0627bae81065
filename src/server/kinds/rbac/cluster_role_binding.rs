//! ClusterRoleBinding: grants a ClusterRole everywhere.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;

use crate::server::strategy::{Meta, NameRule, Strategy};

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
}
