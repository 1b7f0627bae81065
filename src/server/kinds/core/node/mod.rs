//! Node: a machine that runs pods.

mod validate;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Node, NodeSystemInfo};
use serde_json::Value;

use crate::api::field::{Errors, Path};
use crate::server::kinds::cell;
use crate::server::kinds::cell::UNKNOWN;
use crate::server::kinds::closed;
use crate::server::kinds::defaults;
use crate::server::strategy::{Column, Fields, Meta, PROXY, Strategy, Subresource};
use crate::server::validation;

const SUBRESOURCES: &[Subresource] = &[
    Subresource { name: "proxy", kind: "NodeProxyOptions", group_version: None, verbs: PROXY },
    Subresource::status("Node"),
];

pub struct Nodes;

impl Strategy for Nodes {
    type Kind = Node;

    fn meta(&self) -> Meta {
        Meta { short_names: &["no"], subresources: SUBRESOURCES, ..Meta::cluster::<Node>("nodes") }
    }

    fn drop_closed(&self, new: &mut Node, old: Option<&Node>) {
        closed::drop(closed::NODE, new, old);
    }

    // A kubelet registers its node with a status, so creation keeps it.
    fn prepare_update(&self, new: &mut Node, old: &Node) {
        new.status = old.status.clone();
    }

    fn prepare_status(&self, new: &mut Node, old: &Node) {
        new.spec = old.spec.clone();
    }

    fn default(&self, object: &mut Node) {
        let status = object.status.get_or_insert_default();
        defaults::quantities(&mut status.capacity);
        defaults::quantities(&mut status.allocatable);
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
        status.daemon_endpoints.get_or_insert_default().kubelet_endpoint.get_or_insert_default();
        status.node_info.get_or_insert_default();
        let spec = object.spec.get_or_insert_default();
        // The single CIDR is the first of the list, and counts where they differ.
        if let Some(first) = spec.pod_cidr.clone().filter(|cidr| !cidr.is_empty()) {
            let list = spec.pod_cidrs.get_or_insert_default();
            if list.first() != Some(&first) {
                *list = vec![first];
            }
        }
    }

    fn is_heartbeat(&self, new: &Node, old: &Node) -> bool {
        let mut beaten = old.clone();
        let conditions = |node: &Node| node.status.as_ref().and_then(|status| status.conditions.clone());
        let (before, after) = (conditions(old).unwrap_or_default(), conditions(new).unwrap_or_default());
        if let Some(status) = beaten.status.as_mut().filter(|_| before.len() == after.len()) {
            let kept = before.into_iter().zip(after).map(|(mut condition, newer)| {
                condition.last_heartbeat_time = newer.last_heartbeat_time;
                condition
            });
            status.conditions = Some(kept.collect());
        }
        beaten.metadata.managed_fields.clone_from(&new.metadata.managed_fields);
        beaten == *new
    }

    fn same_spec(&self, new: &Node, old: &Node) -> bool {
        new.spec == old.spec
    }

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string("Status", "The status of the node"),
            Column::string("Roles", "The roles of the node"),
            Column::AGE,
            Column::string("Version", "Kubelet Version reported by the node."),
            Column::string("Internal-IP", "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).").wide(),
            Column::string("External-IP", "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).").wide(),
            Column::string("OS-Image", "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).").wide(),
            Column::string("Kernel-Version", "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).").wide(),
            Column::string("Container-Runtime", "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).").wide(),
        ];
        COLUMNS
    }

    fn cells(&self, object: &Node, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let empty = NodeSystemInfo::default();
        let info = object.status.as_ref().and_then(|status| status.node_info.as_ref()).unwrap_or(&empty);
        Some(vec![
            cell::name(&object.metadata),
            readiness(object).into(),
            roles(object).into(),
            cell::age(&object.metadata, now),
            info.kubelet_version.clone().into(),
            address(object, "InternalIP").into(),
            address(object, "ExternalIP").into(),
            cell::or(Some(&info.os_image), UNKNOWN).into(),
            cell::or(Some(&info.kernel_version), UNKNOWN).into(),
            cell::or(Some(&info.container_runtime_version), UNKNOWN).into(),
        ])
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn fields<'a>(&self, object: &'a Node) -> Fields<'a> {
        let unschedulable = object.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
        vec![("spec.unschedulable", Cow::from(if unschedulable { "true" } else { "false" }))]
    }

    fn validate(&self, new: &Node, old: Option<&Node>) -> Errors {
        let mut errors = Errors::new();
        validate::node(&mut errors, new);
        if let Some(old) = old {
            validate::change(&mut errors, new, old);
        }
        errors
    }

    fn validate_status(&self, new: &Node, old: &Node) -> Errors {
        let mut errors = Errors::new();
        validate::change(&mut errors, new, old);
        errors
    }

    fn warnings(&self, new: &Node, _old: Option<&Node>) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(spec) = &new.spec else { return warnings };
        if spec.config_source.is_some() {
            warnings.push("spec.configSource: the feature is no longer supported".to_owned());
        }
        if !validation::text(&spec.external_id).is_empty() {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        }
        for (at, range) in spec.pod_cidrs.iter().flatten().enumerate() {
            validation::warnings::cidr(&mut warnings, &Path::new("spec").child("podCIDRs").index(at), range);
        }
        warnings
    }
}

fn readiness(node: &Node) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.rev().find(|condition| condition.type_ == "Ready");
    let word = match ready.map(|condition| condition.status.as_str()) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    };
    match node.spec.as_ref().and_then(|spec| spec.unschedulable) {
        Some(true) => format!("{word},SchedulingDisabled"),
        _ => word.to_owned(),
    }
}

/// Roles are labels: `node-role.kubernetes.io/<role>`, or the older `kubernetes.io/role=<role>`.
fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles = labels.filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
        None if key == "kubernetes.io/role" => Some(value.as_str()),
        role => role,
    });
    let mut roles: Vec<_> = roles.filter(|role| !role.is_empty()).map(str::to_owned).collect();
    roles.sort();
    roles.dedup();
    cell::list(&roles)
}

fn address<'a>(node: &'a Node, kind: &str) -> &'a str {
    let mut addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.find(|address| address.type_ == kind).map_or(cell::NONE, |address| &address.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(ready: &str, at: &str) -> Node {
        let condition = json!({"type": "Ready", "status": ready, "lastHeartbeatTime": at});
        serde_json::from_value(json!({"metadata": {"name": "n"}, "status": {"conditions": [condition]}})).unwrap()
    }

    #[test]
    fn a_report_without_news_is_a_heartbeat() {
        let old = node("True", "2026-01-01T00:00:00Z");
        assert!(Nodes.is_heartbeat(&node("True", "2026-01-01T00:05:00Z"), &old));
        assert!(!Nodes.is_heartbeat(&node("False", "2026-01-01T00:05:00Z"), &old));
        assert!(!Nodes.is_heartbeat(&Node { status: None, ..old.clone() }, &old));
    }
}
