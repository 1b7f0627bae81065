//! ClusterRole: permissions, cluster-wide or for use in any namespace.

use k8s_openapi::api::rbac::v1::ClusterRole;
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};
use crate::server::validation::labels;

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

    fn validate(&self, new: &ClusterRole, _old: Option<&ClusterRole>) -> Errors {
        let mut errors = Errors::new();
        for (at, rule) in new.rules.iter().flatten().enumerate() {
            super::rule(&mut errors, &Path::new("rules").index(at), rule, false);
        }
        let selectors = new.aggregation_rule.as_ref().map(|rule| rule.cluster_role_selectors.as_deref());
        if let Some(selectors) = selectors {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors");
            let selectors = selectors.unwrap_or_default();
            if selectors.is_empty() {
                errors.push(Error::required(
                    &path,
                    "at least one clusterRoleSelector required if aggregationRule is non-nil",
                ));
            }
            for (at, selector) in selectors.iter().enumerate() {
                let (path, before) = (path.index(at), errors.len());
                labels::selector(&mut errors, &path, Some(selector));
                if errors.len() > before {
                    errors.push(Error::invalid(&path, Value::Null, "invalid label selector."));
                }
            }
        }
        errors
    }
}
