//! Containers: names, images, and what each kind of container may have.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use super::super::{one_in_order, one_of, required, required_name, text};
use super::{Scope, env, handlers, ports, resources, restart, security, visit, volume_mounts};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::pod::is_sidecar;

/// All containers of a pod, whose names share one namespace.
pub fn containers(errors: &mut Errors, path: &Path, spec: &PodSpec, scope: &Scope) {
    let mut names = HashSet::new();
    regular(errors, &path.child("containers"), spec, scope, &mut names);
    let here = path.child("initContainers");
    for (at, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = here.index(at);
        common(errors, &path, container, scope);
        restart::policy(errors, &path, container);
        unique(errors, &path, &container.name, &mut names);
        // One after the other, so each is alone with its ports; upstream counts from zero for each.
        ports::host_conflicts(errors, &here, std::slice::from_ref(container));
        init(errors, &path, container, scope);
    }
    let here = path.child("ephemeralContainers");
    for (at, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        ephemeral(errors, &here.index(at), container, scope, spec, &mut names);
    }
}

fn regular<'a>(errors: &mut Errors, path: &Path, spec: &'a PodSpec, scope: &Scope, names: &mut HashSet<&'a str>) {
    if spec.containers.is_empty() {
        return errors.push(Error::required(path, ""));
    }
    for (at, container) in spec.containers.iter().enumerate() {
        let path = path.index(at);
        common(errors, &path, container, scope);
        unique(errors, &path, &container.name, names);
        handlers::of_container(errors, &path, container, scope);
        restart::policy(errors, &path, container);
    }
    ports::host_conflicts(errors, path, &spec.containers);
}

fn unique<'a>(errors: &mut Errors, path: &Path, name: &'a str, names: &mut HashSet<&'a str>) {
    if !name.is_empty() && !names.insert(name) {
        errors.push(Error::duplicate(&path.child("name"), name));
    }
}

fn common(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    required_name(errors, &path.child("name"), &container.name, names::dns1123_label);
    required(errors, &path.child("image"), text(&container.image));
    let policies = ["File", "FallbackToLogsOnError"];
    let policy = text(&container.termination_message_policy);
    one_in_order(errors, &path.child("terminationMessagePolicy"), policy, &policies);
    ports::container(errors, &path.child("ports"), container.ports.as_deref().unwrap_or_default());
    env::env(errors, &path.child("env"), container.env.as_deref().unwrap_or_default());
    env::env_from(errors, &path.child("envFrom"), container.env_from.as_deref().unwrap_or_default());
    volume_mounts::mounts(errors, &path.child("volumeMounts"), container, scope);
    volume_mounts::devices(errors, &path.child("volumeDevices"), container, scope);
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(errors, &path.child("imagePullPolicy"), text(&container.image_pull_policy), &policies);
    if let Some(needs) = &container.resources {
        resources::of_container(errors, &path.child("resources"), needs, &scope.claims);
    }
    restart::resize_policy(errors, &path.child("resizePolicy"), container, scope.restart_policy);
    if let Some(context) = &container.security_context {
        security::container(errors, &path.child("securityContext"), context, scope.host_users);
    }
}

/// An init container ends before the others start, unless it is a sidecar: handlers make sense only for that.
fn init(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    if is_sidecar(container) {
        handlers::of_container(errors, path, container, scope);
        return;
    }
    let present = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in present.iter().filter(|(_, present)| *present) {
        let detail = "may not be set for init containers without restartPolicy=Always";
        errors.push(Error::forbidden(&path.child(field), detail));
    }
}

fn ephemeral<'a>(
    errors: &mut Errors,
    path: &Path,
    given: &'a EphemeralContainer,
    scope: &Scope,
    spec: &PodSpec,
    names: &mut HashSet<&'a str>,
) {
    const REFUSED: &str = "cannot be set for an Ephemeral Container";
    let container = visit::of_ephemeral(given);
    common(errors, path, &container, scope);
    untrimmed(errors, path, &container);
    unique(errors, path, &given.name, names);
    if let Some(target) = given.target_container_name.as_deref().filter(|target| !target.is_empty()) {
        let inits = spec.init_containers.iter().flatten();
        if !spec.containers.iter().chain(inits).any(|container| container.name == target) {
            errors.push(Error::not_found(&path.child("targetContainerName"), target));
        }
    }
    let present = [
        ("ports", given.ports.is_some()),
        ("resources", given.resources.as_ref().is_some_and(|resources| *resources != Default::default())),
        ("resizePolicy", given.resize_policy.is_some()),
        ("restartPolicy", given.restart_policy.is_some()),
        ("restartPolicyRules", given.restart_policy_rules.is_some()),
        ("livenessProbe", given.liveness_probe.is_some()),
        ("readinessProbe", given.readiness_probe.is_some()),
        ("startupProbe", given.startup_probe.is_some()),
        ("lifecycle", given.lifecycle.is_some()),
    ];
    for (field, _) in present.iter().filter(|(_, present)| *present) {
        errors.push(Error::forbidden(&path.child(field), REFUSED));
    }
    for (at, mount) in given.volume_mounts.iter().flatten().enumerate() {
        let path = path.child("volumeMounts").index(at);
        for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
            if !text(value).is_empty() {
                errors.push(Error::forbidden(&path.child(field), REFUSED));
            }
        }
    }
}

/// Images of pods may not be padded; those of templates may be placeholders.
pub fn untrimmed(errors: &mut Errors, path: &Path, container: &Container) {
    if let Some(image) = container.image.as_deref().filter(|image| image.trim() != *image) {
        let detail = "must not have leading or trailing whitespace";
        errors.push(Error::invalid(&path.child("image"), image, detail));
    }
}
