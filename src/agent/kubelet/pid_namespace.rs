//! The PID namespaces that containers share: a pod's own (`shareProcessNamespace`), which a process of ours keeps, or
//! that of the container which an ephemeral one looks into. All other containers have one of their own.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::host::Host;
use super::model::{PodId, container_id};
use super::qos;
use crate::agent::images::builtin;
use crate::agent::runtime::{ContainerInfo, ContainerSpec, ContainerState, Error, Resources, RunAs, Seccomp};

/// The name that upstream's runtimes give to what is not a container of the pod.
pub const PAUSE: &str = "POD";

/// `pause` in the image of old; nobody in particular.
const USER: i64 = 65535;

pub fn is_shared(spec: &PodSpec) -> bool {
    spec.share_process_namespace == Some(true) && spec.host_pid != Some(true)
}

/// A container is not one of the pod's.
pub fn is_pause(info: &ContainerInfo) -> bool {
    info.name == PAUSE
}

/// Starts the process that keeps the pod's namespace, where there is to be one and it does not run yet.
pub async fn ensure(host: &Host, pod: &Pod) -> Result<(), Error> {
    let Some(spec) = pod.spec.as_ref().filter(|spec| is_shared(spec)) else { return Ok(()) };
    let pause = pause(host, pod, spec);
    match host.runtime.container(&pause.id).await? {
        Some(info) if info.state == ContainerState::Running => return Ok(()),
        Some(_) => host.runtime.remove(&pause.id).await?,
        None => {}
    }
    host.runtime.pull(builtin::NAME, None).await?;
    host.runtime.create(&pause).await?;
    host.runtime.start(&pause.id).await.map(drop)
}

fn pause(host: &Host, pod: &Pod, spec: &PodSpec) -> ContainerSpec {
    let id = PodId::of(pod);
    ContainerSpec {
        id: container_id(&id.uid, PAUSE, 0),
        name: PAUSE.to_owned(),
        image: builtin::NAME.to_owned(),
        args: vec!["pause".to_owned()],
        run_as: RunAs { user: Some(USER), group: Some(USER), supplementary_groups: Vec::new() },
        namespaces: host.sandboxes.namespaces(pod),
        cgroup_parent: qos::cgroup_parent(spec, &id.uid),
        resources: Resources { cpu_shares: Some(2), ..Resources::default() },
        capabilities_drop: vec!["ALL".to_owned()],
        read_only_root: true,
        no_new_privileges: true,
        oom_score_adj: -998,
        seccomp: Seccomp::RuntimeDefault,
        pod_uid: id.uid,
        pod_name: id.name,
        namespace: id.namespace,
        ..ContainerSpec::default()
    }
}

/// The namespace that a container of the pod joins: of the running container with the id `target`, or the pod's.
pub async fn joined(host: &Host, pod: &Pod, target: Option<&str>) -> Result<Option<PathBuf>, Error> {
    let shared = pod.spec.as_ref().is_some_and(is_shared);
    let id = match target {
        Some(target) => target.to_owned(),
        None if shared => container_id(&PodId::of(pod).uid, PAUSE, 0),
        None => return Ok(None),
    };
    match host.runtime.container(&id).await? {
        Some(info) if info.pid != 0 => Ok(Some(PathBuf::from(format!("/proc/{}/ns/pid", info.pid)))),
        _ => Err(Error::NotRunning { id }),
    }
}
