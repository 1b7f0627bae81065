//! Pods, pod specs and templates. One file per thought; this one holds the order of the checks.

mod affinity;
mod containers;
mod env;
mod handlers;
mod ports;
mod resources;
mod security;
mod tolerations;
mod update;
mod volume_mounts;
mod volumes;
mod window;

#[cfg(test)]
mod tests;

pub use resources::requirements;
pub use tolerations::tolerations;
pub use update::update;
pub use volumes::host_path;
pub use window::window;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodDNSConfig, PodSpec, PodTemplateSpec, Volume};

use super::{labels, named, network, one_of, optional_one_of, required, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// What a container may refer to.
pub struct Scope<'a> {
    pub volumes: BTreeMap<&'a str, &'a Volume>,
    pub claims: Vec<&'a str>,
    pub grace_period: Option<i64>,
}

/// A pod as a client made it.
pub fn create(pod: &Pod) -> Errors {
    let mut errors = Errors::new();
    annotations(&mut errors, pod);
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else {
        errors.push(Error::required(&path.child("containers"), ""));
        return errors;
    };
    pod_spec(&mut errors, &path, spec);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.push(Error::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && !text(&spec.node_name).is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(Error::forbidden(&path.child("nodeName"), detail));
    }
    errors
}

/// Annotations that mean something to the cluster.
fn annotations(errors: &mut Errors, pod: &Pod) {
    let path = Path::new("metadata").child("annotations");
    let Some(annotations) = &pod.metadata.annotations else { return };
    let mirror = "kubernetes.io/config.mirror";
    let node = pod.spec.as_ref().map_or("", |spec| text(&spec.node_name));
    if let Some(value) = annotations.get(mirror).filter(|_| node.is_empty()) {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        errors.push(Error::invalid(&path.key(mirror), value.as_str(), detail));
    }
    let cost = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(value) = annotations.get(cost).filter(|value| value.parse::<i32>().is_err()) {
        errors.push(Error::invalid(&path.key(cost), value.as_str(), "must be a 32bit integer"));
    }
}

/// A template of pods: labels, annotations and a spec that some controller can work with.
pub fn template(errors: &mut Errors, path: &Path, template: &PodTemplateSpec) {
    if let Some(metadata) = &template.metadata {
        let path = path.child("metadata");
        labels::labels(errors, &path.child("labels"), metadata.labels.as_ref());
        labels::annotations(errors, &path.child("annotations"), metadata.annotations.as_ref());
    }
    let path = path.child("spec");
    let Some(spec) = &template.spec else {
        errors.push(Error::required(&path.child("containers"), ""));
        return;
    };
    pod_spec(errors, &path, spec);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(Error::forbidden(&path.child("ephemeralContainers"), detail));
    }
}

pub fn pod_spec(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    volumes::volumes(errors, &path.child("volumes"), spec.volumes.as_deref().unwrap_or_default());
    let scope = Scope {
        volumes: spec.volumes.iter().flatten().map(|volume| (volume.name.as_str(), volume)).collect(),
        claims: spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect(),
        grace_period: spec.termination_grace_period_seconds,
    };
    resource_claims(errors, &path.child("resourceClaims"), spec);
    containers::containers(errors, path, spec, &scope);
    if spec.host_network == Some(true) {
        let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
        for (name, containers) in lists {
            ports::match_host(errors, &path.child(name), containers.map_or(&[], Vec::as_slice));
        }
    }
    one_of(errors, &path.child("restartPolicy"), text(&spec.restart_policy), &["Always", "OnFailure", "Never"]);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(errors, &path.child("dnsPolicy"), text(&spec.dns_policy), &dns);
    labels::labels(errors, &path.child("nodeSelector"), spec.node_selector.as_ref());
    security::pod(errors, path, spec);
    for (at, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        required(errors, &path.child("imagePullSecrets").index(at).child("name"), &secret.name);
    }
    if let Some(affinity) = &spec.affinity {
        affinity::affinity(errors, &path.child("affinity"), affinity);
    }
    dns_config(errors, &path.child("dnsConfig"), spec.dns_config.as_ref(), text(&spec.dns_policy));
    gates(errors, path, spec);
    affinity::spread(errors, &path.child("topologySpreadConstraints"), spec);
    identity(errors, path, spec);
    tolerations(errors, &path.child("tolerations"), spec.tolerations.as_deref().unwrap_or_default());
    host_aliases(errors, &path.child("hostAliases"), spec);
    optional_one_of(
        errors,
        &path.child("preemptionPolicy"),
        &spec.preemption_policy,
        &["Never", "PreemptLowerPriority"],
    );
    if let Some(overhead) = &spec.overhead {
        resources::list(errors, &path.child("overhead"), overhead);
    }
    if let Some(resources) = &spec.resources {
        resources::requirements(errors, &path.child("resources"), resources, &scope.claims);
    }
    if let Some(os) = &spec.os {
        one_of(errors, &path.child("os").child("name"), &os.name, &["linux", "windows"]);
    }
}

fn resource_claims(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let mut seen = Vec::new();
    for (at, claim) in spec.resource_claims.iter().flatten().enumerate() {
        let path = path.index(at);
        super::required_name(errors, &path.child("name"), &claim.name, names::dns1123_label);
        if seen.contains(&&claim.name) {
            errors.push(Error::duplicate(&path.child("name"), claim.name.as_str()));
        }
        seen.push(&claim.name);
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.push(Error::invalid(&path, super::json(claim), detail));
            }
            (None, None) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.push(Error::invalid(&path, super::json(claim), detail));
            }
            _ => {}
        }
    }
}

/// Conditions and gates by qualified names.
fn gates(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    for (at, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(at).child("conditionType");
        named(errors, &path, &gate.condition_type, names::qualified_name(&gate.condition_type));
    }
    let mut seen = Vec::new();
    for (at, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.child("schedulingGates").index(at);
        named(errors, &path, &gate.name, names::qualified_name(&gate.name));
        if seen.contains(&&gate.name) {
            errors.push(Error::duplicate(&path, gate.name.as_str()));
        }
        seen.push(&gate.name);
    }
}

/// Who the pod is, where it runs and for how long.
fn identity(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    type Check = fn(&str) -> Vec<String>;
    let checks: [(&str, &Option<String>, Check); 6] = [
        ("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain),
        ("nodeName", &spec.node_name, names::dns1123_subdomain),
        ("hostname", &spec.hostname, names::dns1123_label),
        ("subdomain", &spec.subdomain, names::dns1123_label),
        ("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain),
        ("runtimeClassName", &spec.runtime_class_name, names::dns1123_subdomain),
    ];
    for (field, value, check) in checks {
        let value = text(value);
        if !value.is_empty() {
            named(errors, &path.child(field), value, check(value));
        }
    }
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = names::inclusive_range_error(1, i32::MAX.into());
        errors.push(Error::invalid(&path.child("activeDeadlineSeconds"), seconds, detail));
    }
}

fn host_aliases(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    for (at, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(at);
        network::ip(errors, &path.child("ip"), &alias.ip);
        for (at, name) in alias.hostnames.iter().flatten().enumerate() {
            named(errors, &path.child("hostnames").index(at), name, names::dns1123_subdomain(name));
        }
    }
}

fn dns_config(errors: &mut Errors, path: &Path, config: Option<&PodDNSConfig>, policy: &str) {
    let servers = config.and_then(|config| config.nameservers.as_deref()).unwrap_or_default();
    if policy == "None" {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        match config {
            None => {
                errors.push(Error::required(path, format!("must provide `dnsConfig` when `dnsPolicy` is {policy}")))
            }
            Some(_) if servers.is_empty() => errors.push(Error::required(&path.child("nameservers"), detail)),
            Some(_) => {}
        }
    }
    let Some(config) = config else { return };
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.push(Error::invalid(&path.child("nameservers"), super::json(&servers), detail));
    }
    for (at, server) in servers.iter().enumerate() {
        network::ip(errors, &path.child("nameservers").index(at), server);
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > 32 {
        let detail = "must not have more than 32 search paths";
        errors.push(Error::invalid(&path.child("searches"), super::json(&searches), detail));
    }
    for (at, search) in searches.iter().enumerate() {
        // A trailing dot makes the name absolute; a lone one is the root.
        let name = search.strip_suffix('.').unwrap_or(search);
        if search != "." {
            named(errors, &path.child("searches").index(at), search, names::dns1123_subdomain_with_underscore(name));
        }
    }
    for (at, option) in config.options.iter().flatten().enumerate() {
        if text(&option.name).is_empty() {
            errors.push(Error::required(&path.child("options").index(at), "must not be empty"));
        }
    }
}

/// The image that may not be padded; for pods only, since templates may hold placeholders.
pub(super) fn untrimmed(container: &Container) -> Option<&str> {
    container.image.as_deref().filter(|image| image.trim() != *image)
}
