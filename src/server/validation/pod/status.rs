//! Changes through `/status`: what a kubelet, a scheduler or a controller may say of a pod.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus, ResourceStatus};
use serde_json::json;

use super::super::{json, named, network, not_negative, text};
use super::annotations;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::pod::is_sidecar;

pub fn update(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let metadata = Path::new("metadata");
    let (now, before) = (new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref());
    let (empty_spec, empty) = (PodSpec::default(), PodStatus::default());
    let spec = new.spec.as_ref().unwrap_or(&empty_spec);
    let (status, old_status) = (new.status.as_ref().unwrap_or(&empty), old.status.as_ref().unwrap_or(&empty));
    annotations::update(&mut errors, &metadata.child("annotations"), now, before);
    annotations::check(&mut errors, &metadata.child("annotations"), now, spec);
    for (at, condition) in status.conditions.iter().flatten().enumerate() {
        // Upstream tells of these as if they were metadata.
        let path = metadata.child("conditions").index(at);
        if !["PodScheduled", "Ready", "Initialized"].contains(&condition.type_.as_str()) {
            named(&mut errors, &path.child("Type"), &condition.type_, names::qualified_name(&condition.type_));
        }
        not_negative(&mut errors, &path.child("observedGeneration"), condition.observed_generation.unwrap_or(0));
    }
    let path = Path::new("status");
    not_negative(&mut errors, &path.child("observedGeneration"), status.observed_generation.unwrap_or(0));
    let nominated = text(&status.nominated_node_name);
    if !nominated.is_empty() && status.nominated_node_name != old_status.nominated_node_name {
        named(&mut errors, &path.child("nominatedNodeName"), nominated, names::dns1123_subdomain(nominated));
    }
    super::super::immutable(&mut errors, &path.child("qosClass"), &status.qos_class, &old_status.qos_class);
    transitions(&mut errors, &path, spec, status, old_status);
    claims(&mut errors, &path.child("resourceClaimStatuses"), spec, status);
    let ips: Vec<_> = status.pod_ips.iter().flatten().map(|it| it.ip.as_str()).collect();
    addresses(&mut errors, &path.child("podIPs"), &ips);
    let ips: Vec<_> = status.host_ips.iter().flatten().map(|it| it.ip.as_str()).collect();
    if let Some(first) = ips.first().filter(|first| **first != text(&status.host_ip)) {
        let path = path.child("hostIPs").index(0).child("ip");
        errors.push(Error::invalid(&path, *first, "must be equal to `hostIP`"));
    }
    addresses(&mut errors, &path.child("hostIPs"), &ips);
    of_containers(&mut errors, &path, spec, status);
    errors
}

/// What has ended for good does not run again.
fn transitions(errors: &mut Errors, path: &Path, spec: &PodSpec, new: &PodStatus, old: &PodStatus) {
    let policy = text(&spec.restart_policy);
    let restarts = |container: Option<&Container>| {
        // Rules and a policy of the container's own say more than the pod's.
        container.is_some_and(|container| {
            is_sidecar(container)
                || container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty())
                || matches!(container.restart_policy.as_deref(), Some("Always" | "OnFailure"))
        })
    };
    let find = |list: &'_ [Container], name: &str| list.iter().find(|container| container.name == name).cloned();
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let regular = [
        ("containerStatuses", &new.container_statuses, &old.container_statuses, spec.containers.as_slice()),
        ("initContainerStatuses", &new.init_container_statuses, &old.init_container_statuses, inits),
    ];
    for (field, new, old, containers) in regular {
        if policy == "Always" {
            continue;
        }
        let may = |status: &ContainerStatus| restarts(find(containers, &status.name).as_ref());
        ended(errors, &path.child(field), new, old, policy, may);
    }
    let ephemeral = path.child("ephemeralContainerStatuses");
    ended(errors, &ephemeral, &new.ephemeral_container_statuses, &old.ephemeral_container_statuses, "Never", |_| false);
}

type Statuses = Option<Vec<ContainerStatus>>;

fn ended(
    errors: &mut Errors,
    path: &Path,
    new: &Statuses,
    old: &Statuses,
    policy: &str,
    may_restart: impl Fn(&ContainerStatus) -> bool,
) {
    for (at, before) in old.iter().flatten().enumerate() {
        let Some(end) = before.state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        if end.exit_code != 0 && policy == "OnFailure" || may_restart(before) {
            continue;
        }
        for after in new.iter().flatten().filter(|after| after.name == before.name) {
            if after.state.as_ref().is_none_or(|state| state.terminated.is_none()) {
                let detail = "may not be transitioned to non-terminated state";
                errors.push(Error::forbidden(&path.index(at).child("state"), detail));
            }
        }
    }
}

fn claims(errors: &mut Errors, path: &Path, spec: &PodSpec, status: &PodStatus) {
    let mut seen = HashSet::new();
    for (at, claim) in status.resource_claim_statuses.iter().flatten().enumerate() {
        let path = path.index(at).child("name");
        if !spec.resource_claims.iter().flatten().any(|of_pod| of_pod.name == claim.name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(Error::invalid(&path, claim.name.as_str(), detail));
        }
        if !seen.insert(&claim.name) {
            errors.push(Error::duplicate(&path, claim.name.as_str()));
        }
        if let Some(name) = &claim.resource_claim_name {
            named(errors, &path, name, names::dns1123_subdomain(name));
        }
    }
}

/// One address of each family at most.
fn addresses(errors: &mut Errors, path: &Path, ips: &[&str]) {
    let mut read = Vec::new();
    for (at, ip) in ips.iter().enumerate() {
        read.extend(network::ip(errors, &path.index(at), ip));
    }
    if ips.len() < 2 {
        return;
    }
    let families = [read.iter().any(IpAddr::is_ipv4), read.iter().any(IpAddr::is_ipv6)];
    if families != [true, true] || ips.len() > 2 {
        let shown: Vec<_> = ips.iter().map(|ip| json!({"IP": ip})).collect();
        errors.push(Error::invalid(path, json(&shown), "may specify no more than one IP for each IP family"));
    }
    for (at, ip) in ips.iter().enumerate().filter(|(at, ip)| ips[..*at].contains(ip)) {
        errors.push(Error::duplicate(&path.index(at), json!({"IP": ip})));
    }
}

/// The users that containers run as, and the health of the devices that they have.
fn of_containers(errors: &mut Errors, path: &Path, spec: &PodSpec, status: &PodStatus) {
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let lists = [
        ("containerStatuses", &status.container_statuses, Some(spec.containers.as_slice())),
        ("initContainerStatuses", &status.init_container_statuses, Some(inits)),
        ("ephemeralContainerStatuses", &status.ephemeral_container_statuses, None),
    ];
    for (field, statuses, containers) in lists {
        for (at, status) in statuses.iter().flatten().enumerate() {
            let path = path.child(field).index(at);
            user(errors, &path.child("linux"), status, windows);
            let devices = status.allocated_resources_status.as_deref().unwrap_or_default();
            let here = path.child("allocatedResourcesStatus");
            let Some(containers) = containers else {
                if !devices.is_empty() {
                    errors.push(Error::forbidden(&here, "must not be specified in container status"));
                }
                continue;
            };
            let container = containers.iter().find(|container| container.name == status.name);
            for (at, device) in devices.iter().enumerate() {
                allocated(errors, &here.index(at), device, container);
            }
        }
    }
}

fn user(errors: &mut Errors, path: &Path, status: &ContainerStatus, windows: bool) {
    let Some(user) = status.user.as_ref().and_then(|user| user.linux.as_ref()) else { return };
    if windows {
        return errors.push(Error::forbidden(path, "cannot be set for a windows pod"));
    }
    let groups = user.supplemental_groups.iter().flatten().enumerate();
    let groups = groups.map(|(at, id)| (path.child("supplementalGroups").index(at), *id));
    for (path, id) in [(path.child("uid"), user.uid), (path.child("gid"), user.gid)].into_iter().chain(groups) {
        if !(0..=i64::from(i32::MAX)).contains(&id) {
            errors.push(Error::invalid(&path, id, names::inclusive_range_error(0, i32::MAX.into())));
        }
    }
}

fn allocated(errors: &mut Errors, path: &Path, device: &ResourceStatus, container: Option<&Container>) {
    let resources = container.map(|container| container.resources.clone().unwrap_or_default());
    if let Some(resources) = resources {
        let is_claim = device.name.starts_with("claim:");
        let (known, detail) = if is_claim {
            let name = |claim: &k8s_openapi::api::core::v1::ResourceClaim| match text(&claim.request) {
                "" => format!("claim:{}", claim.name),
                request => format!("claim:{}/{request}", claim.name),
            };
            let detail = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
            (resources.claims.iter().flatten().any(|claim| name(claim) == device.name), detail)
        } else {
            let detail = "must match one of the container's resource requests";
            (resources.requests.iter().flatten().any(|(name, _)| *name == device.name), detail)
        };
        if !known {
            errors.push(Error::invalid(&path.child("name"), device.name.as_str(), detail));
        }
    }
    let mut seen = HashSet::new();
    for (at, part) in device.resources.iter().flatten().enumerate() {
        let path = path.child("resources").index(at);
        let health = part.health.as_deref().unwrap_or_default();
        let supported = ["Healthy", "Unhealthy", "Unknown"];
        if !supported.contains(&health) {
            errors.push(Error::not_supported(&path.child("health"), health, &supported));
        }
        if !seen.insert(&part.resource_id) {
            errors.push(Error::duplicate(&path.child("resourceID"), part.resource_id.as_str()));
        }
    }
}
