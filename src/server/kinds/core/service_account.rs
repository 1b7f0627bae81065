//! ServiceAccount: the identity of pods.

use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};
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

    fn prepare_create(&self, object: &mut ServiceAccount) {
        only_names(object);
    }

    fn prepare_update(&self, new: &mut ServiceAccount, _old: &ServiceAccount) {
        only_names(new);
    }

    fn warnings(&self, new: &ServiceAccount, old: Option<&ServiceAccount>) -> Vec<String> {
        const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
        let said = |account: &ServiceAccount| account.metadata.annotations.as_ref()?.get(ENFORCE).cloned();
        let now = said(new);
        if now.is_none() || old.is_some_and(|old| said(old) == now) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Secrets",
                "Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount are allowed to use. Pods are only limited to this list if this service account has a \"kubernetes.io/enforce-mountable-secrets\" annotation set to \"true\". The \"kubernetes.io/enforce-mountable-secrets\" annotation is deprecated since v1.32. Prefer separate namespaces to isolate access to mounted secrets. This field should not be used to find auto-generated service account token secrets for use outside of pods. Instead, tokens can be requested directly using the TokenRequest API, or service account token secrets can be manually created. More info: https://kubernetes.io/docs/concepts/configuration/secret",
            ),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &ServiceAccount, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let secrets = object.secrets.as_ref().map_or(0, Vec::len);
        Some(vec![cell::name(&object.metadata), secrets.into(), cell::age(&object.metadata, now)])
    }
}

/// Secrets are of the account's own namespace, by their names.
fn only_names(account: &mut ServiceAccount) {
    for secret in account.secrets.iter_mut().flatten() {
        *secret = ObjectReference { name: secret.name.take(), ..Default::default() };
    }
}
