//! What a Deployment's ReplicaSets should be now, given what they are. Pure.
//!
//! Upstream's steps: pausing and scaling come before rolling, a rollout grows the current set first, and
//! only where it need not grow shrinks the others. The plan is the difference between the sets as
//! they should be and as they are.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use super::{revision, size, status};
use crate::server::controllers::pods;

/// What the caches show of one deployment.
pub struct World<'a> {
    pub deployment: &'a Deployment,
    /// The sets it controls.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Their pods.
    pub pods: Vec<Arc<Pod>>,
}

#[derive(Debug, PartialEq)]
pub enum Step {
    Create(Box<ReplicaSet>),
    /// With the size before, where it changes.
    Update {
        set: Box<ReplicaSet>,
        resized_from: Option<i32>,
    },
    Delete(Arc<ReplicaSet>),
}

#[derive(Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// The deployment's own revision annotation, where it must change.
    pub revision: Option<String>,
    pub status: DeploymentStatus,
    /// When to look again even if nothing changes.
    pub due: Option<Timestamp>,
}

/// A set as it is, and as it should be.
struct Draft {
    before: Option<Arc<ReplicaSet>>,
    set: ReplicaSet,
}

struct Planner<'a> {
    deployment: &'a Deployment,
    pods: Vec<Arc<Pod>>,
    now: Timestamp,
    current: Option<Draft>,
    /// From the oldest to the newest.
    old: Vec<Draft>,
    status: DeploymentStatus,
    expired: Vec<Arc<ReplicaSet>>,
}

pub fn plan(world: World<'_>, now: Timestamp) -> Plan {
    let deployment = world.deployment;
    let found = revision::current(deployment, &world.sets);
    let is_current = |set: &Arc<ReplicaSet>| found.as_ref().is_some_and(|found| Arc::ptr_eq(found, set));
    let mut old: Vec<_> = world.sets.iter().filter(|set| !is_current(set)).cloned().collect();
    old.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
    let draft = |set: Arc<ReplicaSet>| Draft { set: (*set).clone(), before: Some(set) };
    let mut planner = Planner {
        deployment,
        pods: world.pods,
        now,
        current: found.map(draft),
        old: old.into_iter().map(draft).collect(),
        status: deployment.status.clone().unwrap_or_default(),
        expired: Vec::new(),
    };
    planner.decide();
    planner.finish()
}

impl Draft {
    fn size(&self) -> i32 {
        size::set_replicas(&self.set)
    }
}

impl Planner<'_> {
    fn decide(&mut self) {
        if self.deployment.metadata.deletion_timestamp.is_some() {
            return;
        }
        status::note_pause(self.deployment, &mut self.status, self.now);
        self.refresh_current();
        let paused = self.deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        if paused || self.was_scaled() {
            self.scale();
            if paused {
                self.clean_up();
            }
        } else if size::is_rolling(self.deployment) {
            self.roll();
        } else {
            self.recreate();
        }
    }

    fn old_sets(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().filter_map(|draft| draft.before.clone()).collect()
    }

    fn all(&self) -> Vec<&Draft> {
        self.old.iter().chain(&self.current).collect()
    }

    fn total(&self) -> i32 {
        self.all().iter().map(|draft| draft.size()).sum()
    }

    /// Annotations and settings that the current set shares with the deployment.
    fn refresh_current(&mut self) {
        let old = self.old_sets();
        let Some(current) = &mut self.current else { return };
        revision::annotate(self.deployment, &mut current.set, &old, false);
        let min_ready = self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
        let spec = current.set.spec.get_or_insert_default();
        if spec.min_ready_seconds.unwrap_or(0) != min_ready.unwrap_or(0) {
            spec.min_ready_seconds = min_ready;
        }
        let name = current.set.metadata.name.as_deref().unwrap_or_default();
        status::note_found(self.deployment, &mut self.status, name, self.now);
    }

    fn create_current(&mut self) {
        if self.current.is_some() {
            return;
        }
        let mut set = revision::new_set(self.deployment);
        revision::annotate(self.deployment, &mut set, &self.old_sets(), true);
        let size = size::next_size(self.deployment, 0, self.total());
        set.spec.get_or_insert_default().replicas = Some(size);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        status::note_created(self.deployment, &mut self.status, name, self.now);
        self.current = Some(Draft { before: None, set });
    }

    /// Some active set was sized for another number of replicas.
    fn was_scaled(&self) -> bool {
        let wanted = size::replicas(self.deployment);
        self.all().iter().filter(|draft| draft.size() > 0).any(|draft| {
            let desired = revision::annotation(&draft.set.metadata, revision::DESIRED);
            desired.and_then(|text| text.parse::<i32>().ok()).is_some_and(|desired| desired != wanted)
        })
    }

    fn scale(&mut self) {
        let wanted = size::replicas(self.deployment);
        let deployment = self.deployment;
        let active = self.all().iter().filter(|draft| draft.size() > 0).count();
        if active <= 1 {
            // The only active set, else the current one, else the newest.
            let drafts = self.old.iter_mut().chain(&mut self.current);
            let mut last = None;
            for draft in drafts {
                let is_active = draft.size() > 0;
                last = Some(draft);
                if is_active {
                    break;
                }
            }
            return last.into_iter().for_each(|draft| resize(deployment, draft, wanted));
        }
        if self.current.as_ref().is_some_and(|current| size::is_saturated(deployment, &current.set)) {
            return self.old.iter_mut().filter(|draft| draft.size() > 0).for_each(|draft| resize(deployment, draft, 0));
        }
        if size::is_rolling(deployment) {
            let mut drafts: Vec<_> =
                self.old.iter_mut().chain(&mut self.current).filter(|draft| draft.size() > 0).collect();
            let sizes = size::proportional(deployment, &drafts.iter().map(|draft| &draft.set).collect::<Vec<_>>());
            for (draft, size) in drafts.iter_mut().zip(sizes) {
                set_size(deployment, draft, size);
            }
        }
    }

    fn roll(&mut self) {
        self.create_current();
        let total = self.total();
        if let Some(current) = &mut self.current {
            let (size, wanted) = (current.size(), size::replicas(self.deployment));
            let next = if size > wanted { wanted } else { size::next_size(self.deployment, size, total) };
            if next != size {
                return resize(self.deployment, current, next);
            }
        }
        if !self.shrink_old() && status::is_complete(self.deployment, &self.status) {
            self.clean_up();
        }
    }

    /// Takes from the old sets what the rollout can spare; whether that is anything.
    fn shrink_old(&mut self) -> bool {
        if self.old.iter().all(|draft| draft.size() == 0) {
            return false;
        }
        let deployment = self.deployment;
        let least = size::replicas(deployment) - size::max_unavailable(deployment);
        let missing = self.current.as_ref().map_or(0, |current| current.size() - size::available(&current.set));
        let spare = self.total() - least - missing;
        if spare <= 0 {
            return false;
        }
        // First the replicas that are not available anyway.
        let mut taken = 0;
        for draft in &mut self.old {
            let unhealthy = draft.size() - size::available(&draft.set);
            let take = unhealthy.min(spare - taken);
            if draft.size() > 0 && take > 0 {
                taken += take;
                resize(deployment, draft, draft.size() - take);
            }
        }
        let available: i32 = self.all().iter().map(|draft| size::available(&draft.set)).sum();
        let mut healthy = available - least;
        for draft in &mut self.old {
            let take = draft.size().min(healthy);
            if take > 0 {
                healthy -= take;
                taken += take;
                resize(deployment, draft, draft.size() - take);
            }
        }
        taken > 0
    }

    fn recreate(&mut self) {
        let mut shrunk = false;
        for draft in self.old.iter_mut().filter(|draft| draft.size() > 0) {
            resize(self.deployment, draft, 0);
            shrunk = true;
        }
        if shrunk || self.old_pods_run() {
            return;
        }
        self.create_current();
        if let Some(current) = &mut self.current {
            resize(self.deployment, current, size::replicas(self.deployment));
        }
        if status::is_complete(self.deployment, &self.status) {
            self.clean_up();
        }
    }

    fn old_pods_run(&self) -> bool {
        let counted = |draft: &Draft| draft.set.status.as_ref().is_some_and(|status| status.replicas > 0);
        let current = self.current.as_ref().and_then(|draft| draft.set.metadata.uid.as_ref());
        let is_old = |pod: &Pod| {
            let controller = crate::server::controllers::owners::controller_of(&pod.metadata);
            controller.is_some_and(|controller| Some(&controller.uid) != current)
        };
        self.old.iter().any(counted) || self.pods.iter().any(|pod| is_old(pod) && !pods::is_terminal(pod))
    }

    fn clean_up(&mut self) {
        self.expired = revision::expired(self.deployment, &self.old_sets());
    }

    fn finish(self) -> Plan {
        let deployment = self.deployment;
        let old_status = deployment.status.clone().unwrap_or_default();
        let current = self.current.as_ref().map(|draft| &draft.set);
        let sets: Vec<&ReplicaSet> = self.all().into_iter().map(|draft| &draft.set).collect();
        // Paused or scaled deployments get their counts only: their rollout makes no progress by itself.
        let mut status = status::calculate(deployment, &self.status, current, &sets, self.now);
        let paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
        if !paused && deployment.metadata.deletion_timestamp.is_none() {
            status::add_progress(deployment, &old_status, &mut status, current, &sets, self.now);
        }
        let revision =
            current.and_then(|set| revision::annotation(&set.metadata, revision::REVISION)).map(str::to_owned);
        let shown = revision::annotation(&deployment.metadata, revision::REVISION).map(str::to_owned);
        let due = if paused { None } else { status::gives_up_at(deployment, &status) };
        let steps = self.current.into_iter().chain(self.old).filter_map(step);
        let steps = steps.chain(self.expired.into_iter().map(Step::Delete)).collect();
        let revision = revision.filter(|revision| Some(revision) != shown.as_ref());
        Plan { steps, revision, status, due }
    }
}

/// Gives a set a size and notes what the size was meant for, where it changes.
fn resize(deployment: &Deployment, draft: &mut Draft, size: i32) {
    if draft.size() != size {
        set_size(deployment, draft, size);
    }
}

fn set_size(deployment: &Deployment, draft: &mut Draft, size: i32) {
    draft.set.spec.get_or_insert_default().replicas = Some(size);
    revision::set_sizes(deployment, draft.set.metadata.annotations.get_or_insert_default());
}

fn step(draft: Draft) -> Option<Step> {
    let set = Box::new(draft.set);
    match draft.before {
        None => Some(Step::Create(set)),
        Some(before) if *before == *set => None,
        Some(before) => {
            let size = size::set_replicas(&before);
            Some(Step::Update { resized_from: (size != size::set_replicas(&set)).then_some(size), set })
        }
    }
}
