//! The rules of nodes: who a kubelet says it is, and what the cluster gave it for good.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{ConfigMapNodeConfigSource, Node, NodeConfigSource, NodeSpec, NodeStatus, Taint};
use serde_json::{Map, Value};

use crate::api::field::{Error, Errors, Path};
use crate::api::{go_json, names};
use crate::server::validation::{POSITIVE, internal, json, labels, named, network, pod, resources, text};

const FEATURE_MAX: usize = 253;

/// A node, new or changed. Upstream tells of taints as if they were metadata.
pub fn node(errors: &mut Errors, node: &Node) {
    let empty = NodeSpec::default();
    let spec = node.spec.as_ref().unwrap_or(&empty);
    annotations(errors, node);
    taints(errors, &Path::new("metadata").child("taints"), spec.taints.as_deref().unwrap_or_default());
    amounts(errors, node);
    if let Some(capacity) = swap(node)
        && capacity <= 0
    {
        let path = Path::new("metadata").child("nodeSwapStatus").child("capacity");
        errors.push(Error::invalid(&path, capacity, POSITIVE));
    }
    features(errors, node);
    let path = Path::new("spec").child("podCIDRs");
    let ranges = spec.pod_cidrs.as_deref().unwrap_or_default();
    let mut families = (false, false);
    for (at, range) in ranges.iter().enumerate() {
        if let Some(range) = network::cidr(errors, &path.index(at), range, &[]) {
            families = (families.0 || range.addr().is_ipv4(), families.1 || range.addr().is_ipv6());
        }
    }
    if ranges.len() > 1 && (families != (true, true) || ranges.len() > 2) {
        errors.push(Error::invalid(&path, json(&ranges), "may specify no more than one CIDR for each IP family"));
    }
    for (at, range) in ranges.iter().enumerate().filter(|(at, range)| ranges[..*at].contains(range)) {
        errors.push(Error::duplicate(&path.index(at), range.as_str()));
    }
}

const TAINTS: &str = "scheduler.alpha.kubernetes.io/taints";
const AVOID: &str = "scheduler.alpha.kubernetes.io/preferAvoidPods";

/// Annotations that nobody acts upon any more are still read.
fn annotations(errors: &mut Errors, node: &Node) {
    let path = Path::new("metadata").child("annotations");
    let said = |key: &str| node.metadata.annotations.as_ref()?.get(key).filter(|value| !value.is_empty());
    if let Some(value) = said(TAINTS) {
        match go_json::decode::<Vec<Taint>>(value.as_bytes(), "[]core.Taint") {
            Ok(list) => taints(errors, &path.child(TAINTS), &list),
            Err(error) => errors.push(Error::invalid(&path, TAINTS, error)),
        }
    }
    let Some(value) = said(AVOID) else { return };
    let avoided: Map<String, Value> = match go_json::decode(value.as_bytes(), "v1.AvoidPods") {
        Ok(avoided) => avoided,
        Err(error) => return errors.push(Error::invalid(&path.child("AvoidPods"), AVOID, error)),
    };
    let entries = avoided.get("preferAvoidPods").and_then(Value::as_array);
    for (at, entry) in entries.into_iter().flatten().enumerate() {
        let path = path.child(AVOID).index(at).child("PodSignature");
        match &entry["podSignature"]["podController"] {
            Value::Null => errors.push(Error::required(&path, "")),
            owner if owner["controller"] == true => {}
            _ => {
                let path = path.child("PodController").child("Controller");
                errors.push(Error::invalid(&path, false, "must point to a controller"));
            }
        }
    }
}

fn swap(node: &Node) -> Option<i64> {
    node.status.as_ref()?.node_info.as_ref()?.swap.as_ref()?.capacity
}

/// What a kubelet says it can do: names in order, none twice.
fn features(errors: &mut Errors, node: &Node) {
    let path = Path::new("status").child("declaredFeatures");
    let features = node.status.as_ref().and_then(|status| status.declared_features.as_deref()).unwrap_or_default();
    for (at, feature) in features.iter().enumerate() {
        if feature.len() > FEATURE_MAX {
            let detail = format!("invalid feature name {feature:?}: must be no more than {FEATURE_MAX} characters");
            errors.push(Error::invalid(&path.index(at), feature.as_str(), detail));
        } else if !is_feature(feature) {
            let detail = format!(
                "invalid feature name {feature:?}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            );
            errors.push(Error::invalid(&path.index(at), feature.as_str(), detail));
        }
        let Some(next) = features.get(at + 1) else { break };
        if next == feature {
            errors.push(Error::duplicate(&path.index(at + 1), next.as_str()));
        } else if next < feature {
            errors.push(Error::invalid(&path.index(at + 1), next.as_str(), "list must be sorted alphabetically"));
        }
    }
}

fn is_feature(name: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    name.starts_with(|first: char| first.is_ascii_uppercase()) && name.split('/').all(word)
}

fn amounts(errors: &mut Errors, node: &Node) {
    let empty = NodeStatus::default();
    let status = node.status.as_ref().unwrap_or(&empty);
    for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (name, amount) in list.iter().flatten() {
            resources::amount(errors, &Path::new("status").child(field).child(name), name, amount);
        }
    }
}

fn taints(errors: &mut Errors, path: &Path, taints: &[Taint]) {
    let mut seen = HashSet::new();
    for (at, taint) in taints.iter().enumerate() {
        let path = path.index(at);
        labels::label_name(errors, &path.child("key"), &taint.key);
        let value = text(&taint.value);
        let problems = names::label_value(value);
        if !problems.is_empty() {
            errors.push(Error::invalid(&path.child("value"), value, problems.join(";")));
        }
        pod::taint_effect(errors, &path.child("effect"), &taint.effect);
        if !seen.insert((&taint.effect, &taint.key)) {
            let detail = "taints must be unique by key and effect pair";
            errors.push(Error::duplicate_shown(&path, &internal::taint(taint)).because(detail));
        }
    }
}

/// The rules of a change, of the node itself or through `/status`.
pub fn change(errors: &mut Errors, new: &Node, old: &Node) {
    let (empty, path) = (NodeSpec::default(), Path::new("spec"));
    let (spec, before) = (new.spec.as_ref().unwrap_or(&empty), old.spec.as_ref().unwrap_or(&empty));
    annotations(errors, new);
    amounts(errors, new);
    features(errors, new);
    let status = new.status.clone().unwrap_or_default();
    let addresses = status.addresses.as_deref().unwrap_or_default();
    for (at, address) in addresses.iter().enumerate().filter(|(at, address)| addresses[..*at].contains(address)) {
        let path = Path::new("status").child("addresses").index(at);
        errors.push(Error::duplicate_shown(&path, &internal::node_address(address)));
    }
    let ranges = |spec: &NodeSpec| spec.pod_cidrs.clone().unwrap_or_default();
    let (now, had) = (ranges(spec), ranges(before));
    // One error for each of them, or one for their number.
    let changed = match now.len() == had.len() {
        true => now.iter().zip(&had).filter(|(now, had)| now != had).count(),
        false => usize::from(!had.is_empty()),
    };
    for _ in 0..changed {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(Error::forbidden(&path.child("podCIDRs"), detail));
    }
    if !text(&before.provider_id).is_empty() && spec.provider_id != before.provider_id {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(Error::forbidden(&path.child("providerID"), detail));
    }
    if let Some(source) = &spec.config_source {
        config(errors, &path.child("configSource"), source, false);
    }
    let config_status = status.config.unwrap_or_default();
    let in_use = [
        ("assigned", &config_status.assigned),
        ("active", &config_status.active),
        ("lastKnownGood", &config_status.last_known_good),
    ];
    for (field, source) in in_use {
        if let Some(source) = source {
            config(errors, &Path::new("status").child("config").child(field), source, true);
        }
    }
    taints(errors, &Path::new("metadata").child("taints"), spec.taints.as_deref().unwrap_or_default());
    if text(&spec.external_id) != text(&before.external_id) {
        errors.push(Error::forbidden(&path.child("externalID"), "may not be updated"));
    }
}

/// A configuration from a ConfigMap, which no kubelet reads any more.
fn config(errors: &mut Errors, path: &Path, source: &NodeConfigSource, in_status: bool) {
    let Some(map) = &source.config_map else {
        return errors.push(Error::invalid(path, json(source), "exactly one reference subfield must be non-nil"));
    };
    let path = path.child("configMap");
    let ConfigMapNodeConfigSource { kubelet_config_key, name, namespace, resource_version, uid } = map;
    for (field, value) in [("uid", uid), ("resourceVersion", resource_version)] {
        match (in_status, text(value).is_empty()) {
            (true, true) => {
                errors.push(Error::required(&path.child(field), format!("{field} must be set in status")));
            }
            (false, false) => {
                errors.push(Error::forbidden(&path.child(field), format!("{field} must not be set in spec")));
            }
            _ => {}
        }
    }
    type Check = fn(&str) -> Vec<String>;
    let parts: [(&str, &String, Check); 3] = [
        ("namespace", namespace, names::dns1123_label),
        ("name", name, names::dns1123_subdomain),
        ("kubeletConfigKey", kubelet_config_key, names::config_map_key),
    ];
    for (field, value, check) in parts {
        match value.as_str() {
            "" => errors.push(Error::required(&path.child(field), format!("{field} must be set"))),
            value => named(errors, &path.child(field), value, check(value)),
        }
    }
}
