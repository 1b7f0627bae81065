//! What is left of a pod from an earlier process: its record, the runtime's containers and the pinned sandbox, put
//! together. After a restart of orch everything goes on; after a reboot of the host only the counts do.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::host::Host;
use super::last_words;
use super::model::{ContainerState, Finished, Instance, Observed};
use super::pid_namespace;
use super::record::Record;
use super::worker::finished;
use crate::agent::runtime::{ContainerInfo, ContainerState as RuntimeState};

/// What `pod` has here. `containers` are the runtime's containers of this pod.
pub fn observe(host: &Host, pod: &Pod, record: Option<Record>, containers: &[ContainerInfo]) -> Observed {
    let mut seen = Observed { start_time: start_time(pod), ..Observed::default() };
    let same_boot = record.as_ref().is_some_and(|record| record.boot == host.boot);
    if let Some(record) = record {
        (seen.epoch, seen.anew) = (record.epoch, record.anew);
        seen.start_time = record.start_time.or(seen.start_time);
        seen.containers = record.containers;
    }
    if same_boot {
        seen.sandbox = host.sandboxes.find(pod);
    }
    for info in containers.iter().filter(|info| !pid_namespace::is_pause(info)) {
        merge(host, pod, &mut seen, info);
    }
    for (name, state) in &mut seen.containers {
        let known = |run: &Instance| containers.iter().any(|info| info.id == run.id);
        if let Some(run) = state.current.as_mut().filter(|run| run.finished.is_none() && !known(run)) {
            run.finished = Some(lost());
        }
        restore(state, status_of(pod, name));
    }
    seen
}

fn start_time(pod: &Pod) -> Option<jiff::Timestamp> {
    pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0)
}

/// Its process vanished together with everything that could tell how: as containerd says after a reboot.
fn lost() -> Finished {
    Finished { exit_code: 255, reason: "Unknown".to_owned(), message: None, at: jiff::Timestamp::now() }
}

/// Brings one of the runtime's containers into the picture.
fn merge(host: &Host, pod: &Pod, seen: &mut Observed, info: &ContainerInfo) {
    let epoch = seen.epoch;
    let state = seen.containers.entry(info.name.clone()).or_default();
    let newer = state.current.as_ref().is_none_or(|run| run.attempt < info.attempt);
    if newer {
        // Made just before the earlier process died: it could not write it down any more.
        if matches!(info.state, RuntimeState::Created) {
            return;
        }
        let label = |name: &str| info.labels.get(name).cloned().unwrap_or_default();
        let run = Instance {
            id: info.id.clone(),
            attempt: info.attempt,
            epoch,
            hash: label("io.kubernetes.container.hash"),
            image: info.image.clone(),
            image_id: info.image_id.clone(),
            started_at: info.started_at,
            finished: None,
        };
        state.previous = state.current.replace(run);
    }
    let Some(run) = state.current.as_mut().filter(|run| run.id == info.id) else { return };
    if info.state != RuntimeState::Running && run.finished.is_none() {
        run.finished = Some(finished(info, last_words::read(host, pod, info)));
    }
    run.started_at = run.started_at.or(info.started_at);
}

/// A container that runs on was started and ready as its published status says: no flapping at a restart of orch.
fn restore(state: &mut ContainerState, status: Option<&ContainerStatus>) {
    let (Some(run), Some(status)) = (&state.current, status) else { return };
    if run.is_running() && status.container_id.as_deref() == Some(super::status::container_uri(&run.id).as_str()) {
        state.started = status.started == Some(true);
        state.ready = status.ready;
    }
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().filter_map(Option::as_ref).flatten().find(|status| status.name == name)
}
