//! Pod: containers that run together on one node.

use k8s_openapi::api::core::v1::Pod;

use crate::server::strategy::{Meta, PROXY, Strategy, Subresource};

/// The methods of a streaming subresource, as discovery tells them.
const STREAM: &[&str] = &["create", "get"];
const POD: &[&str] = &["get", "patch", "update"];
const SUBRESOURCES: &[Subresource] = &[
    Subresource { name: "attach", kind: "PodAttachOptions", group_version: None, verbs: STREAM },
    Subresource { name: "binding", kind: "Binding", group_version: None, verbs: &["create"] },
    Subresource { name: "ephemeralcontainers", kind: "Pod", group_version: None, verbs: POD },
    Subresource { name: "eviction", kind: "Eviction", group_version: Some(("policy", "v1")), verbs: &["create"] },
    Subresource { name: "exec", kind: "PodExecOptions", group_version: None, verbs: STREAM },
    Subresource { name: "log", kind: "Pod", group_version: None, verbs: &["get"] },
    Subresource { name: "portforward", kind: "PodPortForwardOptions", group_version: None, verbs: STREAM },
    Subresource { name: "proxy", kind: "PodProxyOptions", group_version: None, verbs: PROXY },
    Subresource { name: "resize", kind: "Pod", group_version: None, verbs: POD },
    Subresource::status("Pod"),
];

pub struct Pods;

impl Strategy for Pods {
    type Kind = Pod;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["po"],
            categories: &["all"],
            subresources: SUBRESOURCES,
            generation: true,
            ..Meta::namespaced::<Pod>("pods")
        }
    }

    crate::server::kinds::spec_and_status!();
}
