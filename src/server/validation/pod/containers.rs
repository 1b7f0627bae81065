//! Containers: names, images, and what each kind of container may have.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use super::super::{one_of, required, required_name, text};
use super::{Scope, env, handlers, ports, resources, security, volume_mounts};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::api::pod::is_sidecar;

/// All containers of a pod, whose names share one namespace.
pub fn containers(errors: &mut Errors, path: &Path, spec: &PodSpec, scope: &Scope) {
    let mut seen = HashSet::new();
    let here = path.child("containers");
    if spec.containers.is_empty() {
        errors.push(Error::required(&here, ""));
    }
    for (at, container) in spec.containers.iter().enumerate() {
        let path = here.index(at);
        common(errors, &path, container, scope, text(&spec.restart_policy));
        duplicate(errors, &path, &container.name, &mut seen);
        handlers::of_container(errors, &path, container, scope.grace_period);
        let supported = ["Always", "OnFailure", "Never"];
        super::optional_one_of(errors, &path.child("restartPolicy"), &container.restart_policy, &supported);
    }
    ports::host_conflicts(errors, &here, &spec.containers);
    let here = path.child("initContainers");
    for (at, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = here.index(at);
        common(errors, &path, container, scope, text(&spec.restart_policy));
        duplicate(errors, &path, &container.name, &mut seen);
        init(errors, &path, container, scope);
    }
    let here = path.child("ephemeralContainers");
    for (at, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        ephemeral(errors, &here.index(at), container, scope, spec, &mut seen);
    }
}

fn duplicate<'a>(errors: &mut Errors, path: &Path, name: &'a str, seen: &mut HashSet<&'a str>) {
    if !name.is_empty() && !seen.insert(name) {
        errors.push(Error::duplicate(&path.child("name"), name));
    }
}

fn common(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope, restart_policy: &str) {
    required_name(errors, &path.child("name"), &container.name, names::dns1123_label);
    required(errors, &path.child("image"), text(&container.image));
    let policies = ["File", "FallbackToLogsOnError"];
    one_of(errors, &path.child("terminationMessagePolicy"), text(&container.termination_message_policy), &policies);
    ports::container(errors, &path.child("ports"), container.ports.as_deref().unwrap_or_default());
    env::env(errors, &path.child("env"), container.env.as_deref().unwrap_or_default());
    env::env_from(errors, &path.child("envFrom"), container.env_from.as_deref().unwrap_or_default());
    volume_mounts::mounts(errors, path, container, scope);
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(errors, &path.child("imagePullPolicy"), text(&container.image_pull_policy), &policies);
    if let Some(needs) = &container.resources {
        resources::requirements(errors, &path.child("resources"), needs, &scope.claims);
    }
    resources::resize_policy(errors, &path.child("resizePolicy"), container, restart_policy);
    if let Some(context) = &container.security_context {
        security::container(errors, &path.child("securityContext"), context);
    }
}

/// An init container ends before the others start, unless it is a sidecar: handlers make sense only for that.
fn init(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    if let Some(policy) = container.restart_policy.as_deref().filter(|policy| *policy != "Always") {
        // Container restart rules widen what upstream takes here.
        if !["OnFailure", "Never"].contains(&policy) {
            let supported = ["Always", "OnFailure", "Never"];
            errors.push(Error::not_supported(&path.child("restartPolicy"), policy, &supported));
        }
    }
    if is_sidecar(container) {
        handlers::of_container(errors, path, container, scope.grace_period);
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
    seen: &mut HashSet<&'a str>,
) {
    let container = Container {
        name: given.name.clone(),
        image: given.image.clone(),
        env: given.env.clone(),
        env_from: given.env_from.clone(),
        volume_mounts: given.volume_mounts.clone(),
        volume_devices: given.volume_devices.clone(),
        image_pull_policy: given.image_pull_policy.clone(),
        termination_message_policy: given.termination_message_policy.clone(),
        security_context: given.security_context.clone(),
        ..Default::default()
    };
    common(errors, path, &container, scope, text(&spec.restart_policy));
    duplicate(errors, path, &given.name, seen);
    if let Some(target) = given.target_container_name.as_deref().filter(|target| !target.is_empty()) {
        let inits = spec.init_containers.iter().flatten();
        if !spec.containers.iter().chain(inits).any(|container| container.name == target) {
            errors.push(Error::not_found(&path.child("targetContainerName"), target));
        }
    }
    let present = [
        ("ports", given.ports.is_some()),
        ("livenessProbe", given.liveness_probe.is_some()),
        ("readinessProbe", given.readiness_probe.is_some()),
        ("startupProbe", given.startup_probe.is_some()),
        ("lifecycle", given.lifecycle.is_some()),
        ("resources", given.resources.as_ref().is_some_and(|resources| *resources != Default::default())),
    ];
    for (field, _) in present.iter().filter(|(_, present)| *present) {
        errors.push(Error::forbidden(&path.child(field), "cannot be set for an Ephemeral Container"));
    }
    let mounts = given.volume_mounts.iter().flatten().enumerate();
    for (at, mount) in mounts {
        let path = path.child("volumeMounts").index(at);
        if !text(&mount.sub_path).is_empty() {
            errors.push(Error::forbidden(&path.child("subPath"), "cannot be set for an Ephemeral Container"));
        }
        if !text(&mount.sub_path_expr).is_empty() {
            errors.push(Error::forbidden(&path.child("subPathExpr"), "cannot be set for an Ephemeral Container"));
        }
    }
}
