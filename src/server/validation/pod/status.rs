//! Changes through `/status`: what a kubelet, a scheduler or a controller may say of a pod.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Pod, PodExtendedResourceClaimStatus, PodSpec, PodStatus, ResourceStatus,
};
use serde_json::json;

use super::super::{json, named, network, required_name, text};
use super::{Kept, annotations};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::pod::{restart_rule, restarts_all};

pub fn update(new: &Pod, old: &Pod) -> Errors {
    let mut errors = Errors::new();
    let metadata = Path::new("metadata");
    let (now, before) = (new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref());
    let (empty_spec, empty) = (PodSpec::default(), PodStatus::default());
    let spec = new.spec.as_ref().unwrap_or(&empty_spec);
    let (status, old_status) = (new.status.as_ref().unwrap_or(&empty), old.status.as_ref().unwrap_or(&empty));
    annotations::update(&mut errors, &metadata.child("annotations"), now, before);
    annotations::check(&mut errors, &metadata.child("annotations"), now, spec, Kept::by(old.spec.as_ref()));
    let path = Path::new("status");
    let generation = |errors: &mut Errors, path: &Path, value: Option<i64>| {
        if let Some(value) = value.filter(|value| *value < 0) {
            errors.push(Error::invalid(&path.child("observedGeneration"), value, "must be a non-negative integer"));
        }
    };
    for (at, condition) in status.conditions.iter().flatten().enumerate() {
        let path = path.child("conditions").index(at);
        generation(&mut errors, &path, condition.observed_generation);
        if !["PodScheduled", "Ready", "Initialized"].contains(&condition.type_.as_str()) {
            named(&mut errors, &path.child("Type"), &condition.type_, names::qualified_name(&condition.type_));
        }
    }
    let nominated = text(&status.nominated_node_name);
    if !nominated.is_empty() && status.nominated_node_name != old_status.nominated_node_name {
        let path = path.child("nominatedNodeName");
        named(&mut errors, &path, nominated, names::dns1123_subdomain(nominated));
        if old.spec.as_ref().is_some_and(|spec| !text(&spec.node_name).is_empty()) {
            errors.push(Error::forbidden(&path, "may not be set on pods that are already bound to a node"));
        }
    }
    generation(&mut errors, &path, status.observed_generation);
    super::super::immutable(&mut errors, &path.child("qosClass"), &status.qos_class, &old_status.qos_class);
    transitions(&mut errors, &path, spec, status, old_status);
    claims(&mut errors, &path.child("resourceClaimStatuses"), spec, status);
    if let Some(extended) = &status.extended_resource_claim_status {
        extended_claim(&mut errors, &path.child("extendedResourceClaimStatus"), spec, extended);
    }
    let of_pod = |status: &PodStatus| status.pod_ips.iter().flatten().map(|it| it.ip.clone()).collect::<Vec<_>>();
    let of_host = |status: &PodStatus| status.host_ips.iter().flatten().map(|it| it.ip.clone()).collect::<Vec<_>>();
    addresses(&mut errors, &path.child("podIPs"), &of_pod(status), &of_pod(old_status));
    let ips = of_host(status);
    if let Some(first) = ips.first().filter(|first| *first != text(&status.host_ip)) {
        let path = path.child("hostIPs").index(0).child("ip");
        errors.push(Error::invalid(&path, first.as_str(), "must be equal to `hostIP`"));
    }
    addresses(&mut errors, &path.child("hostIPs"), &ips, &of_host(old_status));
    of_containers(&mut errors, &path, spec, status);
    errors
}

/// What has ended for good does not run again, unless some rule starts all containers again.
fn transitions(errors: &mut Errors, path: &Path, spec: &PodSpec, new: &PodStatus, old: &PodStatus) {
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    if !restarts_all(spec) {
        let regular = [
            ("containerStatuses", &new.container_statuses, &old.container_statuses, spec.containers.as_slice()),
            ("initContainerStatuses", &new.init_container_statuses, &old.init_container_statuses, inits),
        ];
        for (field, new, old, containers) in regular {
            let may = |name: &str, code: i32| {
                let container = containers.iter().find(|container| container.name == name);
                container.is_some_and(|container| starts_again(spec, container, code))
            };
            ended(errors, &path.child(field), new, old, may);
        }
    }
    let ephemeral = path.child("ephemeralContainerStatuses");
    ended(errors, &ephemeral, &new.ephemeral_container_statuses, &old.ephemeral_container_statuses, |_, _| false);
}

/// Whether a container that ended with `code` is to run again: its rules say, then its own policy, then the pod's.
fn starts_again(spec: &PodSpec, container: &Container, code: i32) -> bool {
    let own = container.restart_policy.as_deref();
    let rule = restart_rule(container, code).filter(|_| own.is_some());
    if rule.is_some_and(|rule| rule.action == "Restart") {
        return true;
    }
    match own.unwrap_or(text(&spec.restart_policy)) {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

type Statuses = Option<Vec<ContainerStatus>>;

fn ended(errors: &mut Errors, path: &Path, new: &Statuses, old: &Statuses, may_restart: impl Fn(&str, i32) -> bool) {
    for (at, before) in old.iter().flatten().enumerate() {
        let Some(end) = before.state.as_ref().and_then(|state| state.terminated.as_ref()) else { continue };
        let runs = |status: &&ContainerStatus| status.state.as_ref().is_none_or(|state| state.terminated.is_none());
        let after = new.iter().flatten().find(|after| after.name == before.name && runs(after));
        if after.is_some() && !may_restart(&before.name, end.exit_code) {
            let detail = "may not be transitioned to non-terminated state";
            errors.push(Error::forbidden(&path.index(at).child("state"), detail));
        }
    }
}

/// The claim that was made for extended resources: each mapping is of a container and a resource that it asks for.
fn extended_claim(errors: &mut Errors, path: &Path, spec: &PodSpec, claim: &PodExtendedResourceClaimStatus) {
    let here = path.child("requestMappings");
    if claim.request_mappings.is_empty() {
        errors.push(Error::required(&here, "at least one request mapping is required"));
    }
    for (at, mapping) in claim.request_mappings.iter().enumerate() {
        let here = here.index(at);
        let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        match containers.find(|container| container.name == mapping.container_name) {
            None => {
                let detail = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.push(Error::invalid(&here.child("containerName"), mapping.container_name.as_str(), detail));
            }
            Some(container) => {
                let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
                if !requests.is_some_and(|requests| requests.contains_key(&mapping.resource_name)) {
                    let detail = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
                    errors.push(Error::invalid(&here.child("resourceName"), mapping.resource_name.as_str(), detail));
                }
            }
        }
        // Upstream tells of the name at the claim, not at the mapping.
        let name = mapping.request_name.as_str();
        named(errors, &path.child("requestName"), name, names::dns1123_label(name));
        if claim.request_mappings[..at].contains(mapping) {
            errors.push(Error::duplicate(&here.child("containerName"), mapping.container_name.as_str()));
            errors.push(Error::duplicate(&here.child("resourceName"), mapping.resource_name.as_str()));
            errors.push(Error::duplicate(&here.child("requestName"), name));
        }
    }
    required_name(errors, &path.child("resourceClaimName"), &claim.resource_claim_name, names::dns1123_subdomain);
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
fn addresses(errors: &mut Errors, path: &Path, ips: &[String], old: &[String]) {
    let mut read = Vec::new();
    for (at, ip) in ips.iter().enumerate() {
        read.extend(network::legacy_ip(errors, &path.index(at), ip, old));
    }
    if ips.len() < 2 {
        return;
    }
    let families = [read.iter().any(IpAddr::is_ipv4), read.iter().any(IpAddr::is_ipv6)];
    if families != [true, true] || ips.len() > 2 {
        let shown: Vec<_> = ips.iter().map(|ip| json!({"IP": ip})).collect();
        errors.push(Error::invalid(path, json(&shown), "may specify no more than one IP for each IP family"));
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
            user(errors, &path.child("user").child("linux"), status, windows);
            let mounts = status.volume_mounts.iter().flatten().enumerate();
            for (at, mount) in mounts {
                let image = mount.volume_status.as_ref().and_then(|status| status.image.as_ref());
                let path = path.child("volumeMounts").index(at).child("volumeStatus").child("imageVolumeStatus");
                image_ref(errors, &path.child("imageRef"), image.map(|image| image.image_ref.as_str()));
            }
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

fn image_ref(errors: &mut Errors, path: &Path, image: Option<&str>) {
    const MAX: usize = 256;
    match image {
        Some("") => errors.push(Error::required(path, "imageRef must not be empty")),
        Some(image) if image.len() > MAX => errors.push(Error::too_long(path, MAX)),
        _ => {}
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
