//! The deployment controller: moves pods from one template to the next through ReplicaSets.
//!
//! It never touches a pod: it creates, sizes and deletes ReplicaSets ([`plan`]), numbers them
//! ([`revision`]) and says how the rollout goes ([`status`]). `kubectl rollout undo` is nothing special: the old
//! template is found in its old set, which becomes the newest revision.

mod plan;
mod revision;
mod size;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

use super::owners::{self, Owned, Owner};
use super::pods;
use crate::reconcile::clock::until;
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};
use plan::{Plan, Step, World};

pub struct Deployments {
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    sets_by_owner: Owned<ReplicaSet>,
    pods_by_owner: Owned<Pod>,
    events: Recorder,
}

impl Deployments {
    pub fn new(env: &Env, pods_by_owner: Owned<Pod>, sets_by_owner: Owned<ReplicaSet>) -> Self {
        let informers = &env.informers;
        let events = env.events.recorder("deployment-controller", None);
        let (deployments, sets, pods) = (informers.get(), informers.get(), informers.get());
        Self { deployments, sets, pods, sets_by_owner, pods_by_owner, events }
    }

    /// The deployments that a set concerns: its controller, or all that might adopt it.
    fn concerned(&self, set: &ReplicaSet) -> Vec<Key> {
        if owners::controller_of(&set.metadata).is_some() {
            return owners::controller_key::<Deployment>(&set.metadata).into_iter().collect();
        }
        let adopting = self.deployments.store().state_filter(|deployment| {
            let selector = deployment.spec.as_ref().and_then(|spec| owners::selector(&spec.selector).ok());
            deployment.metadata.namespace == set.metadata.namespace
                && selector.is_some_and(|selector| owners::matches(&selector, &set.metadata))
        });
        adopting.iter().map(|deployment| Key::of(deployment.as_ref())).collect()
    }

    /// A deployment that recreates waits for the last old pod to end.
    fn waiting_for(&self, pod: &Pod) -> Option<Key> {
        let set = owners::controller_key::<ReplicaSet>(&pod.metadata)?;
        let set = self.sets.get(&set.namespace, &set.name)?;
        let key = owners::controller_key::<Deployment>(&set.metadata)?;
        let deployment = self.deployments.get(&key.namespace, &key.name)?;
        (!size::is_rolling(&deployment)).then_some(key)
    }

    async fn execute(&self, cx: &Context, deployment: &Deployment, plan: Plan) -> Result<(), Error> {
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let mut status = plan.status;
        let mut failed = None;
        for step in &plan.steps {
            let outcome = self.step(cx, deployment, step, namespace).await;
            if let (Err(error), Step::Create(set)) = (&outcome, step) {
                if super::namespace_is_terminating(error) {
                    return outcome;
                }
                self.note_failure(cx, deployment, set, error, &mut status).await?;
            }
            if let Err(error) = outcome {
                failed = Some(error);
                break;
            }
        }
        let mut updated = deployment.clone();
        if let (None, Some(revision)) = (&failed, &plan.revision) {
            let annotations = updated.metadata.annotations.get_or_insert_default();
            annotations.insert(revision::REVISION.to_owned(), revision.clone());
        }
        updated.status = Some(status);
        if updated != *deployment {
            // With the annotation, which raises the generation where it is written with the spec.
            cx.namespaced::<Deployment>(namespace).replace_status(&updated).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    async fn step(&self, cx: &Context, deployment: &Deployment, step: &Step, namespace: &str) -> Result<(), Error> {
        let writer = cx.namespaced::<ReplicaSet>(namespace);
        match step {
            Step::Create(set) => {
                writer.create(set).await?;
                self.resized(deployment, set, 0);
            }
            Step::Update { set, resized_from } => {
                writer.replace(set).await?;
                if let Some(before) = resized_from {
                    self.resized(deployment, set, *before);
                }
            }
            Step::Delete(set) => writer.delete(set, &DeleteParams::background()).await?,
        }
        Ok(())
    }

    fn resized(&self, deployment: &Deployment, set: &ReplicaSet, before: i32) {
        let size = size::set_replicas(set);
        let direction = match size.cmp(&before) {
            std::cmp::Ordering::Equal => return,
            std::cmp::Ordering::Greater => "up",
            std::cmp::Ordering::Less => "down",
        };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Scaled {direction} replica set {name} from {before} to {size}");
        self.events.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    /// A name that is taken by another template leads to another name; anything else is told.
    async fn note_failure(
        &self,
        cx: &Context,
        deployment: &Deployment,
        set: &ReplicaSet,
        error: &Error,
        status: &mut DeploymentStatus,
    ) -> Result<(), Error> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        if error.reason() == "AlreadyExists" {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            let taken = cx.namespaced::<ReplicaSet>(namespace).api().get_opt(name).await?;
            let ours = taken.is_some_and(|taken| {
                owners::controller_of(&taken.metadata).map(|c| &c.uid) == deployment.metadata.uid.as_ref()
                    && revision::current(deployment, &[Arc::new(taken)]).is_some()
            });
            if !ours {
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            }
            return Ok(());
        }
        let message = format!("Failed to create new replica set {name:?}: {}", error.message());
        self.events.event(deployment, EventType::Warning, "ReplicaSetCreateError", message.as_str());
        *status = deployment.status.clone().unwrap_or_default();
        status::note_failed(deployment, status, message, cx.env.clock.now());
        Ok(())
    }
}

#[async_trait]
impl Controller for Deployments {
    type Key = Key;

    fn name(&self) -> &'static str {
        "deployment"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.deployments, |change| [Key::of(change.object().as_ref())]);
        let this = self.clone();
        watches.on(&self.sets, move |change| {
            let mut keys: Vec<_> = change.new.iter().flat_map(|set| this.concerned(set)).collect();
            keys.extend(change.old.as_ref().and_then(|set| owners::controller_key::<Deployment>(&set.metadata)));
            keys.dedup();
            keys
        });
        let this = self.clone();
        watches.on(&self.pods, move |change| {
            let ended = change.new.as_ref().is_none_or(|pod| pods::is_terminal(pod));
            if ended { this.waiting_for(change.object()) } else { None }
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.get(&key.namespace, &key.name) else { return Ok(Action::done()) };
        let Some(spec) = &deployment.spec else { return Ok(Action::done()) };
        let selector = owners::selector(&spec.selector)?;
        if selector.selects_all() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.events.event(deployment.as_ref(), EventType::Warning, "SelectingAll", message);
            return Ok(Action::done());
        }
        let candidates = owners::candidates(&self.sets_by_owner, &deployment.metadata);
        let claim = owners::claim(&deployment.metadata, &selector, candidates);
        let sets = owners::execute(cx, deployment.as_ref(), claim).await?;
        let uids = sets.iter().filter_map(|set| set.metadata.uid.clone());
        let pods = match size::is_rolling(&deployment) {
            true => Vec::new(),
            false => uids.flat_map(|uid| self.pods_by_owner.get(&Owner::Controller(uid))).collect(),
        };
        let now = cx.env.clock.now();
        let plan = plan::plan(World { deployment: &deployment, sets, pods }, now);
        let due = plan.due;
        self.execute(cx, &deployment, plan).await?;
        // A moment later than the deadline, which has whole seconds.
        let wait = due.map(|due| until(now, due) + std::time::Duration::from_secs(1));
        Ok(Action::maybe_after(wait))
    }
}
