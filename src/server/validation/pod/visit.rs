//! Every container of a pod with its path, in upstream's order: init containers, containers, ephemeral containers.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, PodSpec};

use crate::api::field::Path;

pub fn containers<'a>(spec: &'a PodSpec, path: &Path) -> Vec<(Cow<'a, Container>, Path)> {
    let listed = |name: &'static str, list: &'a [Container]| {
        let path = path.child(name);
        list.iter().enumerate().map(move |(at, container)| (Cow::Borrowed(container), path.index(at)))
    };
    let ephemeral = spec.ephemeral_containers.iter().flatten().enumerate();
    let at = path.child("ephemeralContainers");
    let ephemeral = ephemeral.map(|(index, given)| (Cow::Owned(of_ephemeral(given)), at.index(index)));
    listed("initContainers", spec.init_containers.as_deref().unwrap_or_default())
        .chain(listed("containers", &spec.containers))
        .chain(ephemeral)
        .collect()
}

/// What an ephemeral container has in common with the others.
pub fn of_ephemeral(given: &EphemeralContainer) -> Container {
    let given = given.clone();
    Container {
        args: given.args,
        command: given.command,
        env: given.env,
        env_from: given.env_from,
        image: given.image,
        image_pull_policy: given.image_pull_policy,
        lifecycle: given.lifecycle,
        liveness_probe: given.liveness_probe,
        name: given.name,
        ports: given.ports,
        readiness_probe: given.readiness_probe,
        resize_policy: given.resize_policy,
        resources: given.resources,
        restart_policy: given.restart_policy,
        restart_policy_rules: given.restart_policy_rules,
        security_context: given.security_context,
        startup_probe: given.startup_probe,
        stdin: given.stdin,
        stdin_once: given.stdin_once,
        termination_message_path: given.termination_message_path,
        termination_message_policy: given.termination_message_policy,
        tty: given.tty,
        volume_devices: given.volume_devices,
        volume_mounts: given.volume_mounts,
        working_dir: given.working_dir,
    }
}
