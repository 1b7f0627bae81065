//! What the node knows of Services: a lean copy of every Service and EndpointSlice, kept by one watch each, for the
//! service proxy, DNS and the kubelet's environment variables. Never keeps whole objects and never writes.
//!
//! *Guarantees.* A subscriber is told the key of every Service that may have changed, each at most once until it takes
//! it; the watches resume after a failure, and what vanished meanwhile is told as well.

mod lean;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service as ApiService;
use k8s_openapi::api::discovery::v1::EndpointSlice as ApiSlice;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::reconcile::memory::{Memory, Remembered, remembered};
use crate::reconcile::{Cached, relist};
pub use lean::{Endpoint, EndpointPort, Hints, Service, ServicePort, Slice, ipv4};

/// Namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// A Service together with its endpoints.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub service: Option<Arc<Service>>,
    pub slices: Vec<Arc<Slice>>,
}

#[derive(Default)]
struct World {
    services: HashMap<Key, Arc<Service>>,
    slices: HashMap<Key, BTreeMap<String, Arc<Slice>>>,
    /// Which Service a slice (by namespace and name) belonged to.
    owners: HashMap<Key, Key>,
    subscribers: Vec<Arc<Inbox>>,
}

#[derive(Default)]
struct Inbox {
    changed: Mutex<HashSet<Key>>,
    wake: Notify,
}

/// The keys of Services that changed since they were taken last.
pub struct Subscription(Arc<Inbox>);

impl Subscription {
    /// Waits until something changed, and takes all of it.
    pub async fn changed(&mut self) -> HashSet<Key> {
        loop {
            let keys = std::mem::take(&mut *self.0.changed.lock());
            if !keys.is_empty() {
                return keys;
            }
            self.0.wake.notified().await;
        }
    }
}

/// A handle on what is known. Cheap to clone.
#[derive(Clone, Default)]
pub struct Services(Arc<Inner>);

#[derive(Default)]
struct Inner {
    world: Mutex<World>,
    ready: watch::Sender<(bool, bool)>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Services {
    /// Starts the two watches. They are remembered in the folder `memory`, if there is one.
    pub fn watch(client: Client, memory: Option<&Path>) -> Self {
        let services = Self::default();
        let stop = services.0.stop.clone();
        let first = services.clone().follow_services(remembered_all(client.clone(), memory, "services"));
        services.0.tasks.spawn(stop.clone().run_until_cancelled_owned(first));
        let second = services.clone().follow_slices(remembered_all(client, memory, "endpointslices"));
        services.0.tasks.spawn(stop.run_until_cancelled_owned(second));
        services.0.tasks.close();
        services
    }

    /// Ends the watches.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.wait().await;
    }

    /// Returns when both lists have been read for the first time.
    pub async fn wait_ready(&self) {
        // The sender lives as long as we do.
        let _ = self.0.ready.subscribe().wait_for(|(services, slices)| *services && *slices).await;
    }

    /// Everything known so far counts as changed.
    pub fn subscribe(&self) -> Subscription {
        let mut world = self.0.world.lock();
        let inbox = Arc::new(Inbox::default());
        inbox.changed.lock().extend(world.services.keys().chain(world.slices.keys()).cloned());
        world.subscribers.push(inbox.clone());
        Subscription(inbox)
    }

    pub fn get(&self, key: &Key) -> View {
        let world = self.0.world.lock();
        View {
            service: world.services.get(key).cloned(),
            slices: world.slices.get(key).map(|slices| slices.values().cloned().collect()).unwrap_or_default(),
        }
    }

    /// All Services of a namespace, for environment variables.
    pub fn in_namespace(&self, namespace: &str) -> Vec<(Key, Arc<Service>)> {
        let world = self.0.world.lock();
        let here = world.services.iter().filter(|(key, _)| &*key.namespace == namespace);
        here.map(|(key, service)| (key.clone(), service.clone())).collect()
    }

    /// Takes a Service as the API has it; `None` removes it.
    pub fn put_service(&self, key: Key, service: Option<&ApiService>) {
        let mut world = self.0.world.lock();
        let new = service.map(|it| Arc::new(lean::service(it)));
        if world.services.get(&key) == new.as_ref() {
            return;
        }
        match new {
            Some(new) => world.services.insert(key.clone(), new),
            None => world.services.remove(&key),
        };
        world.tell(&key);
    }

    /// Takes an EndpointSlice as the API has it; `None` removes it.
    pub fn put_slice(&self, name: Key, slice: Option<&ApiSlice>) {
        const OWNER: &str = "kubernetes.io/service-name";
        let mut world = self.0.world.lock();
        let owner = slice.and_then(|it| it.labels().get(OWNER)).map(|owner| Key::new(&name.namespace, owner));
        let before = world.owners.get(&name).cloned();
        if let Some(before) = before.filter(|before| owner.as_ref() != Some(before)) {
            world.owners.remove(&name);
            world.remove_slice(&before, &name.name);
        }
        let (Some(owner), Some(slice)) = (owner, slice) else { return };
        let new = Arc::new(lean::slice(slice));
        let slices = world.slices.entry(owner.clone()).or_default();
        if slices.get(&*name.name) == Some(&new) {
            return;
        }
        slices.insert(name.name.to_string(), new);
        world.owners.insert(name, owner.clone());
        world.tell(&owner);
    }

    async fn follow_services(self, mut events: Remembered<ApiService>) {
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(it)) => self.put_service(key_of(&it), Some(&it)),
                Ok(watcher::Event::Delete(it)) => self.put_service(key_of(&it), None),
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(it)) => {
                    listed.insert(key_of(&it));
                    self.put_service(key_of(&it), Some(&it));
                }
                Ok(watcher::Event::InitDone) => {
                    let listed = std::mem::take(&mut listed);
                    let known: Vec<_> = self.0.world.lock().services.keys().cloned().collect();
                    known.into_iter().filter(|key| !listed.contains(key)).for_each(|key| self.put_service(key, None));
                    self.0.ready.send_modify(|ready| ready.0 = true);
                }
                Err(error) => tracing::debug!(%error, "watching services"),
            }
        }
    }

    async fn follow_slices(self, mut events: Remembered<ApiSlice>) {
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(it)) => self.put_slice(key_of(&it), Some(&it)),
                Ok(watcher::Event::Delete(it)) => self.put_slice(key_of(&it), None),
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(it)) => {
                    listed.insert(key_of(&it));
                    self.put_slice(key_of(&it), Some(&it));
                }
                Ok(watcher::Event::InitDone) => {
                    let listed = std::mem::take(&mut listed);
                    let known: Vec<_> = self.0.world.lock().owners.keys().cloned().collect();
                    known.into_iter().filter(|key| !listed.contains(key)).for_each(|key| self.put_slice(key, None));
                    self.0.ready.send_modify(|ready| ready.1 = true);
                }
                Err(error) => tracing::debug!(%error, "watching endpoint slices"),
            }
        }
    }
}

/// A watch of all objects of a kind.
fn remembered_all<K: Cached>(client: Client, memory: Option<&Path>, name: &str) -> Remembered<K> {
    let memory = memory.map(|dir| Memory { file: dir.join(name), without: &[], synced: false });
    remembered(relist::watch(Api::all(client), watcher::Config::default()), memory)
}

impl World {
    fn tell(&mut self, key: &Key) {
        // Whoever dropped its subscription is forgotten.
        self.subscribers.retain(|inbox| Arc::strong_count(inbox) > 1);
        for inbox in &self.subscribers {
            inbox.changed.lock().insert(key.clone());
            inbox.wake.notify_one();
        }
    }

    fn remove_slice(&mut self, owner: &Key, name: &str) {
        if let Some(slices) = self.slices.get_mut(owner) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(owner);
            }
            self.tell(owner);
        }
    }
}

fn key_of(object: &impl ResourceExt) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_subscriber_hears_each_changed_service_once() {
        let services = Services::default();
        let service: ApiService = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "s"},
            "spec": {"clusterIP": "10.43.0.5", "ports": [{"port": 80}]},
        }))
        .unwrap();
        let key = Key::new("n", "s");
        services.put_service(key.clone(), Some(&service));
        let mut subscription = services.subscribe();
        assert_eq!(subscription.changed().await, HashSet::from([key.clone()]));
        let slice: ApiSlice = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.42.0.2"]}],
        }))
        .unwrap();
        services.put_slice(Key::new("n", "s-1"), Some(&slice));
        services.put_slice(Key::new("n", "s-1"), Some(&slice));
        services.put_service(key.clone(), Some(&service));
        assert_eq!(subscription.changed().await, HashSet::from([key.clone()]));
        assert!(subscription.0.changed.lock().is_empty());
        let view = services.get(&key);
        assert!(view.slices[0].endpoints[0].ready, "unknown readiness means ready");
        services.put_slice(Key::new("n", "s-1"), None);
        assert_eq!(subscription.changed().await, HashSet::from([key.clone()]));
        assert!(services.get(&key).slices.is_empty());
    }
}
