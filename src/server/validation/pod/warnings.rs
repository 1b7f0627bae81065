//! What upstream warns of in pods and templates: deprecated, without effect, or surely a mistake.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodAffinityTerm, PodSpec, Volume, WeightedPodAffinityTerm};

use super::super::text;
use super::super::warnings::{claim, fractional, ip, node_selector_term, old_node_label};
use super::annotations::Annotations;
use super::{overlaps, visit};
use crate::api::field::Path;
use crate::api::quantity::Quantity;

const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        r#"non-functional in v1.16+; use the "priorityClassName" field instead"#,
    ),
    ("security.alpha.kubernetes.io/sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
    ("security.alpha.kubernetes.io/unsafe-sysctls", r#"non-functional in v1.11+; use the "sysctls" field instead"#),
];
const SECCOMP: &str = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
const APP_ARMOR: &str = r#"deprecated since v1.30; use the "appArmorProfile" field instead"#;
const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// `path` is that of the pod (the root) or of the template.
pub fn warnings(path: &Path, spec: &PodSpec, annotations: Option<&Annotations>) -> Vec<String> {
    let mut warnings = Vec::new();
    let at_spec = path.child("spec");
    let empty = Annotations::new();
    let annotations = annotations.unwrap_or(&empty);
    let annotated = path.child("metadata").child("annotations");
    placement(&mut warnings, &at_spec, spec);
    for (key, advice) in OLD_ANNOTATIONS.iter().filter(|(key, _)| annotations.contains_key(*key)) {
        warnings.push(format!("{}: {advice}", annotated.key(key)));
    }
    volumes(&mut warnings, &at_spec.child("volumes"), spec.volumes.as_deref().unwrap_or_default());
    repeated(&mut warnings, &at_spec, spec);
    for name in ["memory", "ephemeral-storage"] {
        if let Some(amount) = spec.overhead.as_ref().and_then(|overhead| overhead.get(name)) {
            fractional(&mut warnings, &at_spec.child("overhead").key(name), Quantity::of(amount));
        }
    }
    let context = spec.security_context.as_ref();
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    if annotations.contains_key(key) && context.is_none_or(|context| context.seccomp_profile.is_none()) {
        warnings.push(format!("{}: {SECCOMP}", annotated.key(key)));
    }
    let is_template = *path != Path::root();
    let pod_profile = context.is_some_and(|context| context.app_armor_profile.is_some());
    for (container, path) in visit::containers(spec, &at_spec) {
        let own = container.security_context.as_ref();
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", container.name);
        if annotations.contains_key(&key) && own.is_none_or(|context| context.seccomp_profile.is_none()) {
            warnings.push(format!("{}: {SECCOMP}", annotated.key(&key)));
        }
        let key = format!("container.apparmor.security.beta.kubernetes.io/{}", container.name);
        let profile = pod_profile || own.is_some_and(|context| context.app_armor_profile.is_some());
        if is_template && !profile && annotations.contains_key(&key) {
            warnings.push(format!("{}: {APP_ARMOR}", annotated.key(&key)));
        }
        self::container(&mut warnings, &path, &container);
    }
    ports(&mut warnings, &at_spec, spec);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let path = at_spec.child("terminationGracePeriodSeconds");
        warnings.push(format!("{path}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    affinity(&mut warnings, &at_spec.child("affinity"), spec);
    addresses(&mut warnings, &at_spec, spec);
    warnings
}

fn addresses(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    let servers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten());
    for (at, server) in servers.enumerate() {
        ip(warnings, &path.child("dnsConfig").child("nameservers").index(at), server);
    }
    for (at, alias) in spec.host_aliases.iter().flatten().enumerate() {
        ip(warnings, &path.child("hostAliases").index(at).child("ip"), &alias.ip);
    }
}

/// Labels of nodes that have newer names; selectors that match nothing.
fn placement(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    for label in spec.node_selector.iter().flat_map(BTreeMap::keys) {
        if let Some(advice) = old_node_label(label) {
            warnings.push(format!("{}: {advice}", path.child("nodeSelector").key(label)));
        }
    }
    let nodes = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let here = path.child("affinity").child("nodeAffinity");
    let required = nodes.and_then(|nodes| nodes.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required.map_or(&[][..], |required| &required.node_selector_terms);
    for (at, term) in terms.iter().enumerate() {
        let path = here.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
        node_selector_term(warnings, &path.index(at), term, false);
    }
    let preferred = nodes.and_then(|nodes| nodes.preferred_during_scheduling_ignored_during_execution.as_deref());
    for (at, term) in preferred.unwrap_or_default().iter().enumerate() {
        let path = here.child("preferredDuringSchedulingIgnoredDuringExecution").index(at).child("preference");
        node_selector_term(warnings, &path, &term.preference, true);
    }
    for (at, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let path = path.child("topologySpreadConstraints").index(at);
        if let Some(advice) = old_node_label(&constraint.topology_key) {
            warnings.push(format!("{}: {} is {advice}", path.child("topologyKey"), constraint.topology_key));
        }
        if constraint.label_selector.is_none() {
            warnings.push(format!("{}: {NULL_SELECTOR}", path.child("labelSelector")));
        }
    }
}

/// Sources whose drivers are gone.
fn volumes(warnings: &mut Vec<String>, path: &Path, volumes: &[Volume]) {
    for (at, volume) in volumes.iter().enumerate() {
        let path = path.index(at);
        let gone = [
            (
                "photonPersistentDisk",
                volume.photon_persistent_disk.is_some(),
                "deprecated in v1.11, non-functional in v1.16+",
            ),
            ("gitRepo", volume.git_repo.is_some(), "deprecated in v1.11, and disabled by default in v1.33+"),
            ("scaleIO", volume.scale_io.is_some(), "deprecated in v1.16, non-functional in v1.22+"),
            ("flocker", volume.flocker.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
            ("storageOS", volume.storageos.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
            ("quobyte", volume.quobyte.is_some(), "deprecated in v1.22, non-functional in v1.25+"),
            ("glusterfs", volume.glusterfs.is_some(), "deprecated in v1.25, non-functional in v1.26+"),
            ("cephfs", volume.cephfs.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
            ("rbd", volume.rbd.is_some(), "deprecated in v1.28, non-functional in v1.31+"),
        ];
        for (field, _, why) in gone.iter().filter(|(_, present, _)| *present) {
            warnings.push(format!("{}: {why}", path.child(field)));
        }
        let template = volume.ephemeral.as_ref().and_then(|ephemeral| ephemeral.volume_claim_template.as_ref());
        if let Some(template) = template {
            claim(warnings, &path.child("ephemeral").child("volumeClaimTemplate").child("spec"), &template.spec);
        }
    }
    overlaps::warnings(warnings, volumes);
}

/// Entries of lists by key that are there twice, which patches then mix up.
fn repeated(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    let mut seen = HashSet::new();
    for (at, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.child("hostAliases").index(at).child("ip");
        if !seen.insert(&alias.ip) {
            warnings.push(format!("{path}: duplicate ip {:?}", alias.ip));
        }
    }
    let mut seen = HashSet::new();
    let secrets = || spec.image_pull_secrets.iter().flatten().enumerate();
    let here = |at| path.child("imagePullSecrets").index(at).child("name");
    for (at, secret) in secrets().filter(|(_, secret)| !seen.insert(&secret.name)) {
        warnings.push(format!("{}: duplicate name {:?}", here(at), secret.name));
    }
    for (at, _) in secrets().filter(|(_, secret)| secret.name.is_empty()) {
        warnings.push(format!("{}: invalid empty name \"\"", here(at)));
    }
}

fn container(warnings: &mut Vec<String>, path: &Path, container: &Container) {
    let resources = container.resources.clone().unwrap_or_default();
    for name in ["memory", "ephemeral-storage"] {
        for (field, list) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            if let Some(amount) = list.as_ref().and_then(|list| list.get(name)) {
                fractional(warnings, &path.child("resources").child(field).key(name), Quantity::of(amount));
            }
        }
    }
    let mut seen = HashSet::new();
    for (at, variable) in container.env.iter().flatten().enumerate() {
        if seen.insert(&variable.name) {
            continue;
        }
        // A value built from the one before is meant so.
        let reference = format!("$({})", variable.name);
        let value = text(&variable.value);
        let extends = variable.value_from.is_none() && value != reference && value.contains(&reference);
        if !extends {
            warnings.push(format!(
                "{}: hides previous definition of {:?}, which may be dropped when using apply",
                path.child("env").index(at),
                variable.name
            ));
        }
    }
}

fn ports(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    let containers = visit::containers(spec, path);
    let mut all: Vec<(Path, &ContainerPort)> = Vec::new();
    for (container, path) in &containers {
        for (at, port) in container.ports.iter().flatten().enumerate() {
            let path = path.child("ports").index(at);
            let host = |port: &ContainerPort| (port.host_port.unwrap_or(0), text(&port.host_ip).to_owned());
            let (number, address) = host(port);
            if number == 0 && !address.is_empty() {
                warnings.push(format!(
                    "{path}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{address}}}",
                    text(&port.name),
                    port.container_port,
                    text(&port.protocol),
                ));
            }
            let same =
                |other: &ContainerPort| other.container_port == port.container_port && other.protocol == port.protocol;
            for (other_path, other) in all.iter().filter(|(_, other)| same(other)) {
                let (other_number, other_address) = host(other);
                let what = if (number, &address) == (other_number, &other_address) {
                    "duplicate"
                } else if number == 0 || other_number == 0 {
                    "overlapping"
                } else if number == other_number && address.is_empty() != other_address.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{path}: {what} port definition with {other_path}"));
            }
            all.push((path, port));
        }
    }
    let mut named: Vec<(&str, &Path)> = Vec::new();
    for (path, port) in all.iter().filter(|(_, port)| !text(&port.name).is_empty()) {
        let name = text(&port.name);
        match named.iter().find(|(other, _)| *other == name) {
            Some((_, other)) => warnings.push(format!(
                "{path}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}"
            )),
            None => named.push((name, path)),
        }
    }
}

fn affinity(warnings: &mut Vec<String>, path: &Path, spec: &PodSpec) {
    let affinity = spec.affinity.clone().unwrap_or_default();
    let near = affinity.pod_affinity.unwrap_or_default();
    let far = affinity.pod_anti_affinity.unwrap_or_default();
    type Lists = (Option<Vec<PodAffinityTerm>>, Option<Vec<WeightedPodAffinityTerm>>);
    let lists: [(&str, Lists); 2] = [
        (
            "podAffinity",
            (
                near.required_during_scheduling_ignored_during_execution,
                near.preferred_during_scheduling_ignored_during_execution,
            ),
        ),
        (
            "podAntiAffinity",
            (
                far.required_during_scheduling_ignored_during_execution,
                far.preferred_during_scheduling_ignored_during_execution,
            ),
        ),
    ];
    for (field, (required, preferred)) in lists {
        let path = path.child(field);
        for (at, _) in required.iter().flatten().enumerate().filter(|(_, term)| term.label_selector.is_none()) {
            let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").index(at);
            warnings.push(format!("{}: {NULL_SELECTOR}", path.child("labelSelector")));
        }
        let weighted = preferred.iter().flatten().enumerate();
        for (at, _) in weighted.filter(|(_, term)| term.pod_affinity_term.label_selector.is_none()) {
            let path = path.child("preferredDuringSchedulingIgnoredDuringExecution").index(at);
            warnings.push(format!("{}: {NULL_SELECTOR}", path.child("podAffinityTerm").child("labelSelector")));
        }
    }
}
