//! Role: permissions in one namespace.

use k8s_openapi::api::rbac::v1::Role;

use crate::server::strategy::{Meta, NameRule, Strategy};

pub struct Roles;

impl Strategy for Roles {
    type Kind = Role;

    fn meta(&self) -> Meta {
        Meta { create_on_update: true, names: NameRule::PathSegment, ..Meta::namespaced::<Role>("roles") }
    }
}
