//! The garbage collector: deletes what nobody owns any more, and carries out foreground and orphaning
//! deletion.
//!
//! It watches the metadata of every kind that can be deleted ([`graph`]). Nothing is deleted on the
//! word of a cache: the object and an owner that seems gone are both read anew, and the deletion names the UID.
//! An owner of a kind that the API does not serve counts as there.

mod graph;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::oneshot;

use super::catalog::{self, Resource};
use crate::reconcile::{Action, Backoff, Context, Controller, Env, Error, Watches};
use graph::{Deletion, FOREGROUND, Graph, Node, ORPHAN, Owner, OwnerState, Uid, Verdict};

/// Resources by group and kind.
type Resources = HashMap<(String, String), Arc<Resource>>;

/// Adds a key to the loop.
type Add = Arc<dyn Fn(Uid) + Send + Sync>;

pub struct GarbageCollector {
    env: Env,
    graph: Arc<Mutex<Graph>>,
    resources: Arc<Mutex<Resources>>,
    /// Present once the loop runs.
    add: Mutex<Option<Add>>,
    /// Is told the namespace of every object that is gone.
    gone: Gone,
}

/// Somebody else who has to know what the watches on everything see.
pub type Gone = Arc<dyn Fn(&str) + Send + Sync>;

impl GarbageCollector {
    pub fn new(env: &Env, gone: Gone) -> Self {
        Self { env: env.clone(), graph: Arc::default(), resources: Arc::default(), add: Mutex::default(), gone }
    }

    fn enqueue(&self, uids: impl IntoIterator<Item = Uid>) {
        if let Some(add) = &*self.add.lock() {
            uids.into_iter().for_each(|uid| add(uid));
        }
    }

    fn api(&self, resource: &Resource, namespace: &str) -> Api<DynamicObject> {
        let client = self.env.client.clone();
        match resource.namespaced {
            true => Api::namespaced_with(client, namespace, &resource.api),
            false => Api::all_with(client, &resource.api),
        }
    }

    /// The object as the API has it now; `None` where it is gone or another of the same name is there.
    async fn live(&self, node: &Node, uid: &Uid) -> Result<Option<ObjectMeta>, Error> {
        let found = self.api(&node.resource, &node.namespace).get_metadata_opt(&node.name).await?;
        Ok(found.map(|object| object.metadata).filter(|meta| meta.uid.as_deref() == Some(uid)))
    }

    async fn state_of(&self, owner: &Owner, namespace: &str) -> Result<OwnerState, Error> {
        let known = { self.graph.lock().get(&owner.uid).map(|node| node.deletion) };
        match known {
            Some(Deletion::Foreground) => return Ok(OwnerState::Waiting),
            Some(_) => return Ok(OwnerState::Solid),
            None => {}
        }
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let resource = { self.resources.lock().get(&(group.to_owned(), owner.kind.to_string())).cloned() };
        let Some(resource) = resource else { return Ok(OwnerState::Solid) };
        let found = self.api(&resource, namespace).get_metadata_opt(&owner.name).await?;
        let meta = found.map(|object| object.metadata).filter(|meta| meta.uid.as_deref() == Some(&owner.uid));
        Ok(match meta.map(|meta| graph::deletion(&meta)) {
            None => OwnerState::Dangling,
            Some(Deletion::Foreground) => OwnerState::Waiting,
            Some(_) => OwnerState::Solid,
        })
    }

    /// Decides about an object that is not being deleted, and does it.
    async fn attempt(&self, uid: &Uid, node: &Node) -> Result<(), Error> {
        if self.graph.lock().is_settled(node) {
            return Ok(());
        }
        let Some(meta) = self.live(node, uid).await?.filter(|meta| meta.deletion_timestamp.is_none()) else {
            return Ok(());
        };
        let owners = graph::owners(&meta);
        let states = join_all(
            owners.iter().map(|owner| async { Ok((owner.uid.clone(), self.state_of(owner, &node.namespace).await?)) }),
        );
        let states = states.await.into_iter().collect::<Result<Vec<_>, Error>>()?;
        let has_dependents = { self.graph.lock().dependents(uid).next().is_some() };
        match graph::verdict(&states, has_dependents) {
            Verdict::Keep => Ok(()),
            Verdict::Disown(lost) => self.edit(node, &meta, |meta| without_owners(meta, &lost)).await,
            Verdict::Delete { in_foreground } => {
                if in_foreground {
                    self.unblock_cycle(uid, node, &meta).await?;
                }
                self.delete(node, &meta, in_foreground).await
            }
        }
    }

    /// A dependent that itself waits for this object would wait for ever: it is not waited for.
    async fn unblock_cycle(&self, uid: &Uid, node: &Node, meta: &ObjectMeta) -> Result<(), Error> {
        let circular = { self.graph.lock().dependents(uid).any(|(_, node)| node.deletion == Deletion::Foreground) };
        if !circular {
            return Ok(());
        }
        let unblock = |meta: &mut ObjectMeta| {
            let owners = meta.owner_references.iter_mut().flatten();
            owners.for_each(|owner| owner.block_owner_deletion = Some(false));
        };
        self.edit(node, meta, unblock).await
    }

    async fn delete(&self, node: &Node, meta: &ObjectMeta, in_foreground: bool) -> Result<(), Error> {
        let has = |finalizer: &str| meta.finalizers.iter().flatten().any(|other| other == finalizer);
        let policy = match () {
            () if in_foreground => PropagationPolicy::Foreground,
            () if has(ORPHAN) => PropagationPolicy::Orphan,
            () if has(FOREGROUND) => PropagationPolicy::Foreground,
            () => PropagationPolicy::Background,
        };
        let preconditions = Some(Preconditions { uid: meta.uid.clone(), resource_version: None });
        let params = DeleteParams { propagation_policy: Some(policy), preconditions, ..DeleteParams::default() };
        gone_is_fine(self.api(&node.resource, &node.namespace).delete(&node.name, &params).await)
    }

    /// Changes owners or finalizers, if nobody else changed the object meanwhile.
    async fn edit(&self, node: &Node, meta: &ObjectMeta, change: impl FnOnce(&mut ObjectMeta)) -> Result<(), Error> {
        let mut after = meta.clone();
        change(&mut after);
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version,
            "ownerReferences": after.owner_references.unwrap_or_default(),
            "finalizers": after.finalizers.unwrap_or_default(),
        }});
        let api = self.api(&node.resource, &node.namespace);
        gone_is_fine(api.patch_metadata(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// Takes the owner away from all its dependents, then lets it go.
    async fn orphan(&self, uid: &Uid, node: &Node) -> Result<(), Error> {
        let dependents: Vec<_> = {
            let graph = self.graph.lock();
            graph.dependents(uid).map(|(uid, node)| (uid.clone(), node.clone())).collect()
        };
        let lost = [uid.clone()];
        let edits = dependents.iter().map(|(uid, dependent)| async {
            match self.live(dependent, uid).await? {
                None => Ok(()),
                Some(meta) => self.edit(dependent, &meta, |meta| without_owners(meta, &lost)).await,
            }
        });
        Error::gather(join_all(edits).await.into_iter().filter_map(Result::err).collect())?;
        self.finish(uid, node, ORPHAN).await
    }

    /// Lets the object go if nothing blocks it any more, else sees that what blocks goes.
    async fn foreground(&self, uid: &Uid, node: &Node) -> Result<(), Error> {
        let (blocking, all): (bool, Vec<_>) = {
            let graph = self.graph.lock();
            let blocks = |node: &Node| node.owner(uid).is_some_and(|owner| owner.blocks);
            let blocking = graph.dependents(uid).any(|(_, dependent)| blocks(dependent));
            (blocking, graph.dependents(uid).map(|(uid, _)| uid.clone()).collect())
        };
        self.enqueue(all);
        if blocking { Ok(()) } else { self.finish(uid, node, FOREGROUND).await }
    }

    async fn finish(&self, uid: &Uid, node: &Node, finalizer: &str) -> Result<(), Error> {
        let Some(meta) = self.live(node, uid).await? else { return Ok(()) };
        self.edit(node, &meta, |meta| meta.finalizers.iter_mut().for_each(|all| all.retain(|f| f != finalizer))).await
    }
}

fn without_owners(meta: &mut ObjectMeta, lost: &[Uid]) {
    if let Some(owners) = &mut meta.owner_references {
        owners.retain(|owner| !lost.iter().any(|uid| **uid == *owner.uid));
    }
}

fn gone_is_fine<T>(outcome: Result<T, kube::Error>) -> Result<(), Error> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => Ok(other.map(drop)?),
    }
}

#[async_trait]
impl Controller for GarbageCollector {
    type Key = Uid;

    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Uid>) {
        let add: Arc<dyn Fn(Uid) + Send + Sync> = Arc::new(watches.adder());
        *self.add.lock() = Some(add);
        watches.wait_for(watch_everything(self.clone()));
    }

    async fn reconcile(&self, _: &Context, uid: &Uid) -> Result<Action, Error> {
        let Some(node) = ({ self.graph.lock().get(uid).cloned() }) else { return Ok(Action::done()) };
        match node.deletion {
            Deletion::No => self.attempt(uid, &node).await?,
            Deletion::Plain => {}
            Deletion::Foreground => self.foreground(uid, &node).await?,
            Deletion::Orphan => self.orphan(uid, &node).await?,
        }
        Ok(Action::done())
    }
}

/// Discovers the kinds and starts their watches; ready when every one of them has listed.
fn watch_everything(collector: Arc<GarbageCollector>) -> BoxFuture<'static, ()> {
    async move {
        let resources = discover(&collector.env.client).await;
        let mut listed = Vec::new();
        for resource in resources {
            let resource = Arc::new(resource);
            let key = (resource.api.group.clone(), resource.api.kind.clone());
            collector.resources.lock().insert(key, resource.clone());
            // Events own nothing, are owned by nobody, and are many.
            if !resource.collectable || resource.api.plural == "events" {
                continue;
            }
            let (done, wait) = oneshot::channel();
            let watching = follow(collector.clone(), resource, done);
            let stop = collector.env.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(watching).await });
            listed.push(wait);
        }
        join_all(listed).await;
    }
    .boxed()
}

async fn discover(client: &Client) -> Vec<Resource> {
    let mut backoff = Backoff::new(std::time::Duration::from_millis(100), std::time::Duration::from_secs(30));
    loop {
        match catalog::resources(client).await {
            Ok(resources) => return resources,
            Err(error) => {
                tracing::warn!(%error, "the garbage collector cannot discover the API's resources");
                tokio::time::sleep(backoff.failed(())).await;
            }
        }
    }
}

/// Brings one resource's metadata into the graph for as long as the process runs.
async fn follow(collector: Arc<GarbageCollector>, resource: Arc<Resource>, listed: oneshot::Sender<()>) {
    let mut listed = Some(listed);
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(collector.env.client.clone(), &resource.api);
    let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
    let mut vanished = std::collections::HashSet::new();
    while let Some(event) = events.next().await {
        let uid =
            |object: &PartialObjectMeta<DynamicObject>| Uid::from(object.metadata.uid.as_deref().unwrap_or_default());
        let mut concerned = Vec::new();
        match event {
            Ok(watcher::Event::Init) => vanished = collector.graph.lock().of_resource(&resource),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                let uid = uid(&object);
                vanished.remove(&uid);
                let node = Node::new(resource.clone(), &object.metadata);
                concerned = collector.graph.lock().observe(uid, node);
            }
            Ok(watcher::Event::Delete(object)) => {
                concerned = collector.graph.lock().forget(&uid(&object));
                (collector.gone)(object.metadata.namespace.as_deref().unwrap_or_default());
            }
            Ok(watcher::Event::InitDone) => {
                let mut graph = collector.graph.lock();
                concerned = vanished.drain().flat_map(|uid| graph.forget(&uid)).collect();
                drop(graph);
                listed.take().map(|listed| listed.send(()));
            }
            Err(error) => tracing::debug!(resource = resource.api.plural, %error, "watch failed, will be resumed"),
        }
        collector.enqueue(concerned);
    }
}
