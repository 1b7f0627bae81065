//! Pods: their number, and what they request and are limited to as long as they run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use super::{amounts, count};
use crate::api::pod::{self as pods, Resources};

const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What each container must say, once it is limited.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

pub(super) fn is_limited_by(name: &str) -> bool {
    let plain = name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
    matches!(name, "pods" | "count/pods")
        || COMPUTE.contains(&plain)
        || name.strip_prefix("requests.").unwrap_or(name).starts_with("hugepages-")
        || name.strip_prefix("requests.").is_some_and(is_extended)
}

/// A resource of somebody's own domain, or devices by the name of their class.
fn is_extended(name: &str) -> bool {
    let foreign = name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.");
    foreign || name.starts_with("deviceclass.resource.kubernetes.io/")
}

/// `count/pods` counts what is stored; everything else only pods that still run.
pub(super) fn usage(pod: &Pod, now: Timestamp) -> Resources {
    let mut usage = Resources::from([("count/pods".to_owned(), count(1))]);
    if !pods::is_terminal(pod) && expires(pod).is_none_or(|end| now <= end) {
        usage.extend(compute(&pods::requests_held(pod), &pods::limits_held(pod)));
        usage.insert("pods".to_owned(), count(1));
    }
    usage
}

/// When a pod that is being deleted stops to count, although nobody has confirmed its end.
pub fn expires(pod: &Pod) -> Option<Timestamp> {
    let deleted = pod.metadata.deletion_timestamp.as_ref()?;
    let grace = pod.metadata.deletion_grace_period_seconds?;
    deleted.0.checked_add(SignedDuration::from_secs(grace)).ok()
}

fn compute(requests: &Resources, limits: &Resources) -> Resources {
    let mut usage = Resources::new();
    for (name, amount) in requests {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), *amount);
            usage.insert(format!("requests.{name}"), *amount);
        } else if is_extended(name) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        usage.insert(format!("limits.{name}"), *amount);
    }
    usage
}

fn said(resources: Option<&ResourceRequirements>) -> Resources {
    let list = |pick: fn(&ResourceRequirements) -> Option<&BTreeMap<String, _>>| amounts(resources.and_then(pick));
    compute(&list(|own| own.requests.as_ref()), &list(|own| own.limits.as_ref()))
}

/// What containers leave out although `limited` limits it, worded; `None` where nothing is missing. A pod that says
/// anything as a whole need not say it of its containers.
pub fn missing<'a>(pod: &Pod, limited: impl Iterator<Item = &'a str>) -> Option<String> {
    let required: BTreeSet<&str> = limited.filter(|name| REQUIRED.contains(name)).collect();
    let spec = pod.spec.as_ref().filter(|spec| !pods::has_pod_level(spec))?;
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let init = spec.init_containers.iter().flatten();
    for Container { name, resources, .. } in spec.containers.iter().chain(init) {
        let own = said(resources.as_ref());
        for wanted in required.iter().filter(|wanted| !own.contains_key(**wanted)) {
            missing.entry(*wanted).or_default().insert(name.as_str());
        }
    }
    let told = missing.iter().map(|(resource, names)| {
        let names: Vec<_> = names.iter().copied().collect();
        format!("{resource} for: {}", names.join(","))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| format!("must specify {}", told.join("; ")))
}
