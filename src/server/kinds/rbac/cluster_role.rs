//! ClusterRole: permissions, cluster-wide or for use in any namespace.

use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};

pub struct ClusterRoles;

impl Strategy for ClusterRoles {
    type Kind = ClusterRole;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, names: NameRule::PathSegment, ..Meta::cluster::<ClusterRole>("clusterroles") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::NAME, cell::CREATED_AT];
        COLUMNS
    }

    fn cells(&self, object: &ClusterRole, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        Some(vec![cell::name(&object.metadata), cell::created(&object.metadata)])
    }
}
