//! Role: permissions in one namespace.

use k8s_openapi::api::rbac::v1::Role;
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, NameRule, Strategy};

pub struct Roles;

impl Strategy for Roles {
    type Kind = Role;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, names: NameRule::PathSegment, ..Meta::namespaced::<Role>("roles") }
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[Column::NAME, cell::CREATED_AT];
        COLUMNS
    }

    fn cells(&self, object: &Role, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let _ = now;
        Some(vec![cell::name(&object.metadata), cell::created(&object.metadata)])
    }

    fn validate(&self, new: &Role, _old: Option<&Role>) -> Errors {
        let mut errors = Errors::new();
        for (at, rule) in new.rules.iter().flatten().enumerate() {
            super::rule(&mut errors, &Path::new("rules").index(at), rule, true);
        }
        errors
    }
}
