//! ServiceAccount: the identity of pods.

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::Value;

use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

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

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::integer("Secrets", "The number of secrets that pods running with this ServiceAccount may use."),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ServiceAccount, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let secrets = object.secrets.as_ref().map_or(0, Vec::len);
        Some(vec![cell::name(&object.metadata), secrets.into(), cell::age(&object.metadata, now)])
    }
}
