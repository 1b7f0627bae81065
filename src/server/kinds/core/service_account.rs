//! ServiceAccount: the identity of pods.

use k8s_openapi::api::core::v1::ServiceAccount;

use crate::server::strategy::{Meta, Strategy, Subresource};

const SUBRESOURCES: &[Subresource] = &[Subresource {
    name: "token",
    kind: "TokenRequest",
    group_version: Some(("authentication.k8s.io", "v1")),
    verbs: &["create"],
}];

pub struct ServiceAccounts;

impl Strategy for ServiceAccounts {
    type Kind = ServiceAccount;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["sa"],
            subresources: SUBRESOURCES,
            ..Meta::namespaced::<ServiceAccount>("serviceaccounts")
        }
    }
}
