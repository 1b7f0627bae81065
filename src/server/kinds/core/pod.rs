//! Pod: containers that run together on one node.

use k8s_openapi::api::core::v1::{Pod, PodStatus};

use crate::api::pod;
use crate::server::kinds::defaults;
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

    fn prepare_create(&self, object: &mut Pod) {
        let qos_class = object.spec.as_ref().map(|spec| pod::qos_class(spec).to_owned());
        object.status = Some(PodStatus { phase: Some("Pending".to_owned()), qos_class, ..Default::default() });
    }

    fn prepare_update(&self, new: &mut Pod, old: &Pod) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Pod, old: &Pod) {
        new.spec = old.spec.clone();
        new.metadata.owner_references = old.metadata.owner_references.clone();
        // The class of a pod is settled when it is made.
        let class = old.status.as_ref().and_then(|status| status.qos_class.clone());
        if let (Some(status), Some(class)) = (&mut new.status, class) {
            status.qos_class = Some(class);
        }
    }

    fn same_spec(&self, new: &Pod, old: &Pod) -> bool {
        new.spec == old.spec
    }

    fn default(&self, object: &mut Pod) {
        defaults::pod::pod(object);
    }
}
