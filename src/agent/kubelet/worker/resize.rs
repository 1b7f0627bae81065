//! The worker's part in resizing: whether the node has what the pod asks for now, and giving it to the containers.

use jiff::{SignedDuration, Timestamp};

use super::{Done, Worker};
use crate::agent::kubelet::model::{Activity, find_container};
use crate::agent::kubelet::plan::is_complete;
use crate::agent::kubelet::qos;
use crate::agent::kubelet::resize::{Applied, Claim, Progress, Verdict, allocatable, is_wanted, verdict};
use crate::reconcile::events::EventType::Warning;

/// Between two tries.
const RETRY: SignedDuration = SignedDuration::from_secs(10);

impl Worker {
    /// Looks whether the pod asks for other resources than it has, and whether there are any.
    pub(super) fn consider_resize(&mut self) {
        let pod = self.pod();
        let Some(spec) = pod.spec.as_ref() else { return };
        if self.seen.ending.is_some() || !is_wanted(spec, &self.seen) {
            self.seen.resize = Progress::default();
        } else {
            let others =
                self.host.claims.borrow().iter().filter(|(uid, _)| **uid != self.id.uid).map(|(_, it)| *it).sum();
            let verdict = verdict(Claim::of(spec), others, allocatable(self.host.capacity));
            if verdict != Verdict::Fits {
                self.seen.resize.failed = None;
            }
            self.seen.resize.verdict = verdict;
        }
        // What waits is not counted yet; what has ended is not counted any more.
        let over = self.torn_down || is_complete(spec, &self.seen);
        let waits = self.seen.resize.verdict != Verdict::Fits;
        let claim = Claim::of(spec);
        self.host.claims.send_if_modified(|claims| match (over, waits) {
            (true, _) => claims.remove(&self.id.uid).is_some(),
            (false, true) => false,
            (false, false) => claims.insert(self.id.uid.clone(), claim) != Some(claim),
        });
    }

    /// Gives a running container what its spec asks for.
    pub(super) fn resize(&mut self, name: &str) {
        let pod = self.pod();
        let Some(spec) = pod.spec.as_ref() else { return };
        let Some((_, container)) = find_container(spec, name) else { return };
        let Some(target) = self.target(name) else { return };
        let (parent, whole) = (qos::cgroup_parent(spec, &self.id.uid), qos::pod_resources(spec));
        let resources = qos::container_resources(&container, None);
        self.state(name).activity = Activity::Resizing;
        let (host, name) = (self.host.clone(), name.to_owned());
        self.steps.spawn(async move {
            // A pod grows before its containers, and shrinks after them.
            let grown = host.cgroups.create(&parent, &whole);
            let given = host.runtime.update(&target.id, &resources).await;
            let shrunk = if grown.is_err() { host.cgroups.create(&parent, &whole) } else { Ok(()) };
            let result = given.map_err(|error| error.to_string());
            let result = result.and_then(|()| shrunk.map_err(|error| error.to_string()));
            Done::Resized { name, applied: Applied::of(&container), result }
        });
    }

    pub(super) fn resized(&mut self, name: &str, applied: Applied, result: Result<(), String>) {
        let state = self.state(name);
        state.activity = Activity::None;
        match result {
            Ok(()) => {
                state.applied = Some(applied);
                self.seen.resize.failed = None;
            }
            Err(why) => {
                self.event(Some(name), Warning, "ResizeError", format!("Error resizing container {name}: {why}"));
                self.seen.resize.failed = Some((why, Timestamp::now() + RETRY));
            }
        }
    }
}
