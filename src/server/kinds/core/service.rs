//! Service: a name and an address for a set of pods.

use k8s_openapi::api::core::v1::Service;

use crate::server::strategy::{Meta, NameRule, PROXY, Strategy, Subresource};

const SUBRESOURCES: &[Subresource] = &[
    Subresource { name: "proxy", kind: "ServiceProxyOptions", group_version: None, verbs: PROXY },
    Subresource::status("Service"),
];

pub struct Services;

impl Strategy for Services {
    type Kind = Service;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["svc"],
            categories: &["all"],
            subresources: SUBRESOURCES,
            create_on_update: true,
            names: NameRule::Label,
            ..Meta::namespaced::<Service>("services")
        }
    }

    crate::server::kinds::spec_and_status!();
}
