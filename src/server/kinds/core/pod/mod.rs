//! Pod: containers that run together on one node.

mod prepare;
mod table;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::api::names;
use crate::server::kinds::{closed, defaults};
use crate::server::strategy::{Column, Fields, Meta, PROXY, Strategy, Subresource};
use crate::server::validation;

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

    fn drop_closed(&self, new: &mut Pod, old: Option<&Pod>) {
        closed::pod(new, old);
    }

    fn prepare_create(&self, object: &mut Pod) {
        prepare::create(object);
    }

    fn prepare_update(&self, new: &mut Pod, old: &Pod) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Pod, old: &Pod) {
        prepare::status(new, old);
    }

    fn same_spec(&self, new: &Pod, old: &Pod) -> bool {
        validation::semantic::same(&new.spec, &old.spec)
    }

    fn default(&self, object: &mut Pod) {
        defaults::pod::pod(object);
    }

    fn columns(&self) -> &'static [Column] {
        table::COLUMNS
    }

    fn cells(&self, object: &Pod, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(table::cells(object, now))
    }

    fn completed(&self, object: &Pod) -> Option<(&'static str, &'static str)> {
        match object.status.as_ref()?.phase.as_deref()? {
            "Succeeded" => Some(("Succeeded", "The pod has completed successfully.")),
            "Failed" => Some(("Failed", "The pod failed.")),
            _ => None,
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.host",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn fields<'a>(&self, object: &'a Pod) -> Fields<'a> {
        let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
        let of_spec = |get: fn(&PodSpec) -> Option<&String>| Cow::from(spec.and_then(get).map_or("", String::as_str));
        let of_status =
            |get: fn(&PodStatus) -> Option<&String>| Cow::from(status.and_then(get).map_or("", String::as_str));
        let host_network = spec.is_some_and(|spec| spec.host_network == Some(true));
        let address = of_status(|status| status.pod_ip.as_ref());
        vec![
            ("spec.nodeName", of_spec(|spec| spec.node_name.as_ref())),
            // As the field was called before v1.
            ("spec.host", of_spec(|spec| spec.node_name.as_ref())),
            ("spec.restartPolicy", of_spec(|spec| spec.restart_policy.as_ref())),
            ("spec.schedulerName", of_spec(|spec| spec.scheduler_name.as_ref())),
            ("spec.serviceAccountName", of_spec(|spec| spec.service_account_name.as_ref())),
            ("spec.hostNetwork", Cow::from(if host_network { "true" } else { "false" })),
            ("status.phase", of_status(|status| status.phase.as_ref())),
            ("status.podIP", address.clone()),
            ("status.podIPs", address),
            ("status.nominatedNodeName", of_status(|status| status.nominated_node_name.as_ref())),
        ]
    }

    fn validate(&self, new: &Pod, old: Option<&Pod>) -> Errors {
        match old {
            None => validation::pod::create(new),
            Some(old) => validation::pod::update(new, old),
        }
    }

    fn validate_status(&self, new: &Pod, old: &Pod) -> Errors {
        validation::pod::update_status(new, old)
    }

    fn validate_window(&self, window: &str, new: &Pod, old: &Pod) -> Errors {
        match window {
            "ephemeralcontainers" => validation::pod::update_ephemeral_containers(new, old),
            "resize" => validation::pod::resize(new, old),
            _ => Errors::new(),
        }
    }

    fn early_warnings(&self, object: &Pod) -> Vec<String> {
        validation::pod::app_armor::warnings(object)
    }

    fn warnings(&self, new: &Pod, old: Option<&Pod>) -> Vec<String> {
        // People write templates; what updates pods is in a hurry and reads no warnings.
        let (None, Some(spec)) = (old, &new.spec) else { return Vec::new() };
        let problems = names::dns1123_label(new.metadata.name.as_deref().unwrap_or_default());
        let mut warnings = Vec::new();
        if !problems.is_empty() {
            warnings.push(format!(
                "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
                problems.join(" ")
            ));
        }
        warnings.extend(validation::pod::warnings(&Path::root(), spec, new.metadata.annotations.as_ref()));
        warnings
    }
}
