//! From the names in a request to a container of this node, with upstream's words where there is none.

use std::path::PathBuf;

use k8s_openapi::List;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};

use super::Server;
use super::answer::{self, Answer, Failure};
use crate::agent::kubelet::model::{PodId, find_container};

/// The pod with the kubelet's own, newest status.
pub fn pod(server: &Server, namespace: &str, name: &str) -> Result<(Pod, PodId), Failure> {
    let found = server.pods.get(namespace, name).ok_or_else(|| Failure::not_found("pod does not exist"))?;
    let mut pod = (*found).clone();
    let id = PodId::of(&pod);
    if let Some(status) = server.host.status(&id.uid) {
        pod.status = Some(status);
    }
    Ok((pod, id))
}

/// `/pods`: everything bound to this node.
pub fn all_pods(server: &Server) -> Result<Answer, Failure> {
    let items = server.pods.store().state().iter().map(|pod| (**pod).clone()).collect();
    answer::json(&List::<Pod> { items, ..Default::default() })
}

fn status<'a>(status: Option<&'a PodStatus>, name: &str) -> Option<&'a ContainerStatus> {
    let status = status?;
    let lists = [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().filter_map(Option::as_ref).flatten().find(|status| status.name == name)
}

fn id_of(uri: Option<&String>) -> Option<String> {
    uri.and_then(|uri| uri.strip_prefix("containerd://")).map(str::to_owned)
}

/// The id of a container that runs.
pub fn running(server: &Server, namespace: &str, name: &str, container: &str) -> Result<String, Failure> {
    let (pod, _) = pod(server, namespace, name)?;
    let status = status(pod.status.as_ref(), container);
    let runs = status.and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some());
    let id = status.filter(|_| runs).and_then(|status| id_of(status.container_id.as_ref()));
    id.ok_or_else(|| Failure::internal(format!("container not found (\"{container}\")")))
}

pub fn attachable(
    server: &Server,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<(String, Container), Failure> {
    let id = running(server, namespace, name, container)?;
    let (pod, _) = pod(server, namespace, name)?;
    let found = pod.spec.as_ref().and_then(|spec| find_container(spec, container));
    found
        .map(|(_, container)| (id, container))
        .ok_or_else(|| Failure::internal(format!("container not found (\"{container}\")")))
}

/// A log file, and the container that still writes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Log {
    pub path: PathBuf,
    pub writer: Option<String>,
}

pub fn log(server: &Server, namespace: &str, name: &str, container: &str, previous: bool) -> Result<Log, Failure> {
    let (pod, id) = pod(server, namespace, name)?;
    if pod.spec.as_ref().and_then(|spec| find_container(spec, container)).is_none() {
        return Err(Failure::not_found(format!("container \"{container}\" not found in pod \"{id}\"")));
    }
    let (attempt, writer) = which_run(status(pod.status.as_ref(), container), &id.name, container, previous)?;
    let dir = server.host.pod_log_dir(&id).join(container);
    Ok(Log { path: dir.join(format!("{attempt}.log")), writer })
}

/// The run whose log is meant, and its id where it may still write.
fn which_run(
    status: Option<&ContainerStatus>,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<(i32, Option<String>), Failure> {
    let waits = |reason: &str| {
        Failure::bad(format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}"))
    };
    let Some(status) = status else { return Err(waits("ContainerCreating")) };
    let now = status.state.clone().unwrap_or_default();
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let count = status.restart_count;
    match (previous, last) {
        (true, None) => {
            Err(Failure::bad(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found")))
        }
        // While it waits for its next run, the count is that of the last one.
        (true, Some(_)) if now.waiting.is_some() => Ok((count, None)),
        (true, Some(_)) => Ok((count - 1, None)),
        (false, _) if now.running.is_some() => Ok((count, id_of(status.container_id.as_ref()))),
        (false, _) if now.terminated.is_some() => Ok((count, None)),
        (false, Some(_)) => Ok((count, None)),
        (false, None) => {
            let why = now.waiting.unwrap_or_default();
            let reason = why.reason.unwrap_or_else(|| "ContainerCreating".to_owned());
            Err(match reason.as_str() {
                "ErrImagePull" => waits("image can't be pulled"),
                "ImagePullBackOff" => waits("trying and failing to pull image"),
                reason => waits(reason),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(status: Value, previous: bool) -> Result<(i32, Option<String>), String> {
        let status: ContainerStatus = serde_json::from_value(status).unwrap();
        which_run(Some(&status), "p", "c", previous).map_err(|failure| failure.message)
    }

    #[test]
    fn the_right_run_is_found() {
        let base = |state: Value, last: Value| {
            json!({"name": "c", "image": "x", "imageID": "", "ready": true, "restartCount": 2,
                "containerID": "containerd://id", "state": state, "lastState": last})
        };
        let ended = || json!({"terminated": {"exitCode": 1}});
        let up = || json!({"running": {}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        assert_eq!(run(base(up(), ended()), false), Ok((2, Some("id".into()))));
        assert_eq!(run(base(up(), ended()), true), Ok((1, None)));
        assert_eq!(run(base(waiting("CrashLoopBackOff"), ended()), false), Ok((2, None)));
        assert_eq!(run(base(waiting("CrashLoopBackOff"), ended()), true), Ok((2, None)));
        assert_eq!(
            run(base(waiting("ImagePullBackOff"), json!({})), false).unwrap_err(),
            "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"
        );
        assert_eq!(
            run(base(up(), json!({})), true).unwrap_err(),
            "previous terminated container \"c\" in pod \"p\" not found"
        );
    }
}
