//! The replicaset and the replicationcontroller controller: keep as many pods as an object asks for.
//!
//! A ReplicationController is treated as the ReplicaSet that it is ([`Replicated`]). Observes the set's pods, plans ([`plan`]), creates in batches that double while all goes well, deletes in
//! upstream's order ([`rank`]), and writes the status. Never touches pods of another controller.

mod plan;
mod rank;
mod replicated;

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};

use super::owners::{self, Owned, Owner};
use super::pods;
use replicated::Replicated;

use crate::reconcile::clock::until;
use crate::reconcile::events::{EventType, Recorder};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};

/// Keeps the pods of a kind's objects.
pub struct Replicas<K: Replicated> {
    sets: Informer<K>,
    pods: Informer<Pod>,
    sets_by_owner: Owned<ReplicaSet>,
    pods_by_owner: Owned<Pod>,
    events: Recorder,
}

impl<K: Replicated> Replicas<K> {
    pub fn new(env: &Env, pods_by_owner: Owned<Pod>, sets_by_owner: Owned<ReplicaSet>) -> Self {
        let events = env.events.recorder(K::COMPONENT, None);
        Self { sets: env.informers.get(), pods: env.informers.get(), sets_by_owner, pods_by_owner, events }
    }

    /// The sets that a pod concerns: its controller, or all that might adopt it.
    fn concerned(&self, pod: &Pod) -> Vec<Key> {
        if owners::controller_of(&pod.metadata).is_some() {
            return owners::controller_key::<K>(&pod.metadata).into_iter().collect();
        }
        if pods::is_deleting(pod) {
            return Vec::new();
        }
        let namespace = &pod.metadata.namespace;
        let adopting = self.sets.store().state_filter(|set| {
            let fits = || {
                let spec = set.as_set().spec.as_ref().map(|spec| owners::selector(&spec.selector));
                spec.and_then(Result::ok).is_some_and(|selector| owners::matches(&selector, &pod.metadata))
            };
            &set.meta().namespace == namespace && fits()
        });
        adopting.iter().map(|set| Key::of(set.as_ref())).collect()
    }

    /// Pods of every set that has the same controller as this one, its own included.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let siblings = match owners::controller_of(&set.metadata) {
            Some(controller) => self.sets_by_owner.get(&Owner::Controller(controller.uid.clone())),
            None => vec![Arc::new(set.clone())],
        };
        let uids = siblings.iter().filter_map(|set| set.metadata.uid.clone());
        uids.flat_map(|uid| self.pods_by_owner.get(&Owner::Controller(uid))).collect()
    }

    /// Creates pods, one at first, then twice as many each time that all succeed.
    async fn create(&self, cx: &Context, owner: &K, set: &ReplicaSet, mut missing: usize) -> Result<(), Error> {
        let Some(template) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return Ok(()) };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let pod = pods::from_template(template, name, owners::reference(owner));
        let writer = cx.namespaced::<Pod>(set.metadata.namespace.as_deref().unwrap_or_default());
        let mut batch = 1;
        while missing > 0 {
            let now = batch.min(missing);
            let mut errors = Vec::new();
            for outcome in join_all((0..now).map(|_| writer.create(&pod))).await {
                match outcome {
                    Ok(pod) => {
                        let message = format!("Created pod: {}", pod.metadata.name.unwrap_or_default());
                        self.events.event(owner, EventType::Normal, "SuccessfulCreate", message);
                    }
                    // Nothing can be created any more, and the set itself is about to go.
                    Err(error) if super::namespace_is_terminating(&error) => {}
                    Err(error) => {
                        let message = format!("Error creating: {}", error.message());
                        self.events.event(owner, EventType::Warning, "FailedCreate", message);
                        errors.push(error);
                    }
                }
            }
            Error::gather(errors)?;
            missing -= now;
            batch = now * 2;
        }
        Ok(())
    }

    async fn delete(&self, cx: &Context, owner: &K, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let writer = cx.namespaced::<Pod>(owner.meta().namespace.as_deref().unwrap_or_default());
        let deleted = pods.iter().map(|pod| async {
            let uid = pod.metadata.uid.clone();
            let preconditions = Some(Preconditions { uid, resource_version: None });
            let outcome = writer.delete(pod, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
            match &outcome {
                Ok(()) => {
                    let message = format!("Deleted pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
                    self.events.event(owner, EventType::Normal, "SuccessfulDelete", message);
                }
                Err(error) => {
                    let message = format!("Error deleting: {}", error.message());
                    self.events.event(owner, EventType::Warning, "FailedDelete", message);
                }
            }
            outcome
        });
        Error::gather(join_all(deleted).await.into_iter().filter_map(Result::err).collect())
    }
}

#[async_trait]
impl<K: Replicated> Controller for Replicas<K> {
    type Key = Key;

    fn name(&self) -> &'static str {
        K::CONTROLLER
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.sets, |change| [Key::of(change.object().as_ref())]);
        let this = self.clone();
        watches.on(&self.pods, move |change| {
            let mut keys: Vec<_> = change.new.iter().flat_map(|pod| this.concerned(pod)).collect();
            // A pod that went, or whose controller changed, concerns the one it had.
            keys.extend(change.old.as_ref().and_then(|pod| owners::controller_key::<K>(&pod.metadata)));
            keys.dedup();
            keys
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(object) = self.sets.get(&key.namespace, &key.name) else { return Ok(Action::done()) };
        let set = object.as_set();
        let Some(spec) = &set.spec else { return Ok(Action::done()) };
        let selector = owners::selector(&spec.selector)?;
        // Pods at their end are neither adopted nor released; those being deleted are counted.
        let candidates = owners::candidates(&self.pods_by_owner, &set.metadata);
        let candidates = candidates.into_iter().filter(|pod| !pods::is_terminal(pod)).collect();
        let claim = owners::claim(&set.metadata, &selector, candidates);
        let mine = owners::execute(cx, object.as_ref(), claim).await?;

        let now = cx.env.clock.now();
        let plan = plan::plan(&set, &mine, &self.related(&set), now);
        let outcome = match plan.create {
            0 => self.delete(cx, &object, &plan.delete).await,
            missing => self.create(cx, &object, &set, missing).await,
        };

        let failure = outcome.as_ref().err().map(Error::message);
        let updated = object.with_status(plan::status(&set, &mine, failure.as_deref(), now));
        if !updated.as_set().status.as_ref().is_some_and(|status| plan::same(set.status.as_ref(), status)) {
            cx.namespaced(&key.namespace).replace_status(&updated).await?;
        }
        outcome?;
        Ok(Action::maybe_after(plan::next_due(&set, &mine, now).map(|due| until(now, due))))
    }
}
