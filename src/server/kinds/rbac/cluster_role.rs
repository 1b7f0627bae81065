//! ClusterRole: permissions, cluster-wide or for use in any namespace.

use k8s_openapi::api::rbac::v1::ClusterRole;

use crate::server::strategy::{Meta, NameRule, Strategy};

pub struct ClusterRoles;

impl Strategy for ClusterRoles {
    type Kind = ClusterRole;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, names: NameRule::PathSegment, ..Meta::cluster::<ClusterRole>("clusterroles") }
    }
}
