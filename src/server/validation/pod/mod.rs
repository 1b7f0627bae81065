//! Pods, pod specs and templates. One file per thought; this one holds the order of the checks.

mod affinity;
mod annotations;
pub mod app_armor;
mod containers;
mod dns;
mod env;
mod ephemeral;
mod handlers;
mod kept;
mod os;
mod overlaps;
mod pod_level;
mod ports;
mod resize;
mod resources;
mod restart;
mod security;
mod spread;
mod status;
mod tolerations;
mod update;
mod visit;
mod volume_mounts;
mod volumes;
mod warnings;
mod windows;

#[cfg(test)]
mod tests;

pub use affinity::node_selector;
pub use ephemeral::update as update_ephemeral_containers;
pub use kept::Kept;
pub use resize::update as resize;
pub use resources::overhead;
pub use status::update as update_status;
pub use tolerations::{effect as taint_effect, tolerations};
pub use update::update;
pub use volumes::host_path;
pub use warnings::warnings;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec, Volume};

use super::{internal, labels, named, one_in_order, required_name, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// What the containers of one pod have in common.
pub struct Scope<'a> {
    /// The volumes without errors, which containers may mount.
    pub volumes: BTreeMap<&'a str, &'a Volume>,
    /// The names of the pod's resource claims.
    pub claims: Vec<&'a str>,
    pub grace_period: Option<i64>,
    pub restart_policy: &'a str,
    /// Whether the users inside are those outside.
    pub host_users: bool,
    pub os: &'a str,
}

/// A pod as a client made it.
pub fn create(pod: &Pod) -> Errors {
    let mut errors = metadata_and_spec(pod, None);
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else { return errors };
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        errors.push(Error::forbidden(&path.child("ephemeralContainers"), "cannot be set on create"));
    }
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && !text(&spec.node_name).is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(Error::forbidden(&path.child("nodeName"), detail));
    }
    restart::resized_init(&mut errors, &path, spec);
    annotations::match_fields(&mut errors, &path, pod.metadata.annotations.as_ref(), spec);
    errors
}

/// What every pod must be, new or changed.
fn metadata_and_spec(pod: &Pod, old: Option<&Pod>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else {
        errors.push(Error::required(&path.child("containers"), ""));
        return errors;
    };
    let annotated = Path::new("metadata").child("annotations");
    let kept = Kept::by(old.and_then(|old| old.spec.as_ref()));
    annotations::check(&mut errors, &annotated, pod.metadata.annotations.as_ref(), spec, kept);
    pod_spec(&mut errors, &path, spec, Some(text(&pod.metadata.name)), kept);
    tokens(&mut errors, &path.child("volumes"), spec);
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    for (field, list) in [("containers", spec.containers.as_slice()), ("initContainers", inits)] {
        for (at, container) in list.iter().enumerate() {
            containers::untrimmed(&mut errors, &path.child(field).index(at), container);
        }
    }
    errors
}

/// Who has no service account has no token of one.
fn tokens(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    if !text(&spec.service_account_name).is_empty() {
        return;
    }
    for (at, volume) in spec.volumes.iter().flatten().enumerate() {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for (source_at, _) in sources.enumerate().filter(|(_, source)| source.service_account_token.is_some()) {
            let path = path.index(at).child("projected").child("sources").index(source_at);
            let detail = "must not be specified when serviceAccountName is not set";
            errors.push(Error::forbidden(&path.child("serviceAccountToken"), detail));
        }
    }
}

/// A template of pods: labels, annotations and a spec that some controller can work with. `old` is what it was.
pub fn template(errors: &mut Errors, path: &Path, template: &PodTemplateSpec, old: Option<&PodTemplateSpec>) {
    let spec_path = path.child("spec");
    let Some(spec) = &template.spec else {
        errors.push(Error::required(&spec_path.child("containers"), ""));
        return;
    };
    let metadata = template.metadata.as_ref();
    let annotated = metadata.and_then(|metadata| metadata.annotations.as_ref());
    labels::labels(errors, &path.child("labels"), metadata.and_then(|metadata| metadata.labels.as_ref()));
    labels::annotations(errors, &path.child("annotations"), annotated);
    let kept = Kept::by(old.and_then(|old| old.spec.as_ref()));
    annotations::check(errors, &path.child("annotations"), annotated, spec, kept);
    pod_spec(errors, &spec_path, spec, None, kept);
    if !kept.resized_init {
        restart::resized_init(errors, &spec_path, spec);
    }
    annotations::match_fields(errors, &spec_path, annotated, spec);
    if spec.ephemeral_containers.as_ref().is_some_and(|list| !list.is_empty()) {
        let detail = "ephemeral containers not allowed in pod template";
        errors.push(Error::forbidden(&spec_path.child("ephemeralContainers"), detail));
    }
}

/// A spec; `pod` is the name of the pod, which a template does not have.
fn pod_spec(errors: &mut Errors, path: &Path, spec: &PodSpec, pod: Option<&str>, kept: Kept) {
    if spec.termination_grace_period_seconds.is_none() {
        errors.push(Error::required(&path.child("terminationGracePeriodSeconds"), ""));
    }
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let scope = Scope {
        volumes: volumes::volumes(errors, &path.child("volumes"), volumes, pod),
        claims: spec.resource_claims.iter().flatten().map(|claim| claim.name.as_str()).collect(),
        grace_period: spec.termination_grace_period_seconds,
        restart_policy: text(&spec.restart_policy),
        host_users: spec.host_users != Some(false),
        os: spec.os.as_ref().map_or("", |os| os.name.as_str()),
    };
    resource_claims(errors, &path.child("resourceClaims"), spec);
    containers::containers(errors, path, spec, &scope);
    pod_level::check(errors, &path.child("resources"), spec);
    if spec.host_network == Some(true) {
        ports::match_host(errors, &path.child("containers"), &spec.containers, pod.is_some());
    }
    let policies = ["Always", "OnFailure", "Never"];
    one_in_order(errors, &path.child("restartPolicy"), text(&spec.restart_policy), &policies);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_in_order(errors, &path.child("dnsPolicy"), text(&spec.dns_policy), &policies);
    labels::labels(errors, &path.child("nodeSelector"), spec.node_selector.as_ref());
    security::pod(errors, &path.child("securityContext"), spec, kept);
    placement(errors, path, spec);
    windows::host_process(errors, path, spec);
    security::host_users(errors, path, spec, kept);
    dns::hostname_override(errors, path, spec);
    identity(errors, path, spec, kept);
    os::check(errors, path, spec);
    env::file_volumes(errors, path, spec);
}

/// Where the pod runs and what it waits for.
fn placement(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    if let Some(affinity) = &spec.affinity {
        affinity::affinity(errors, &path.child("affinity"), affinity);
    }
    dns::config(errors, &path.child("dnsConfig"), spec.dns_config.as_ref(), text(&spec.dns_policy));
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
    let constraints = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    spread::constraints(errors, &path.child("topologySpreadConstraints"), constraints);
}

fn resource_claims(errors: &mut Errors, path: &Path, spec: &PodSpec) {
    let mut seen = Vec::new();
    for (at, claim) in spec.resource_claims.iter().flatten().enumerate() {
        let path = path.index(at);
        if seen.contains(&&claim.name) {
            errors.push(Error::duplicate(&path.child("name"), claim.name.as_str()));
        } else {
            required_name(errors, &path.child("name"), &claim.name, names::dns1123_label);
            seen.push(&claim.name);
        }
        let detail = match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            (None, None) => "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            _ => "",
        };
        if !detail.is_empty() {
            errors.push(Error::invalid_shown(&path, &internal::pod_claim(claim), detail));
        }
        let sources = [
            ("resourceClaimName", &claim.resource_claim_name),
            ("resourceClaimTemplateName", &claim.resource_claim_template_name),
        ];
        for (field, name) in sources {
            let Some(name) = name else { continue };
            named(errors, &path.child(field), name, names::dns1123_subdomain(name));
        }
    }
}

/// Who the pod is, how important and for how long.
fn identity(errors: &mut Errors, path: &Path, spec: &PodSpec, kept: Kept) {
    type Check = fn(&str) -> Vec<String>;
    let check = |errors: &mut Errors, fields: &[(&str, &Option<String>, Check)]| {
        for (field, value, check) in fields {
            let value = text(value);
            if !value.is_empty() {
                named(errors, &path.child(field), value, check(value));
            }
        }
    };
    let before: [(&str, &Option<String>, Check); 2] = [
        ("serviceAccountName", &spec.service_account_name, names::dns1123_subdomain),
        ("nodeName", &spec.node_name, names::dns1123_subdomain),
    ];
    check(errors, &before);
    if let Some(seconds) = spec.active_deadline_seconds
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = names::inclusive_range_error(1, i32::MAX.into());
        errors.push(Error::invalid(&path.child("activeDeadlineSeconds"), seconds, detail));
    }
    let after: [(&str, &Option<String>, Check); 2] =
        [("hostname", &spec.hostname, names::dns1123_label), ("subdomain", &spec.subdomain, names::dns1123_label)];
    check(errors, &after);
    tolerations(errors, &path.child("tolerations"), spec.tolerations.as_deref().unwrap_or_default(), kept);
    dns::host_aliases(errors, &path.child("hostAliases"), spec);
    check(errors, &[("priorityClassName", &spec.priority_class_name, names::dns1123_subdomain as Check)]);
    if let Some(name) = &spec.runtime_class_name {
        named(errors, &path.child("runtimeClassName"), name, names::dns1123_subdomain(name));
    }
    if let Some(policy) = &spec.preemption_policy {
        one_in_order(errors, &path.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    if let Some(overhead) = &spec.overhead {
        resources::overhead(errors, &path.child("overhead"), overhead);
    }
}
