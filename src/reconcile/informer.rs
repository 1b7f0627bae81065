//! Shared caches: one watch per kind and process, however many read it.
//!
//! *Flow.* kube-runtime's watcher → its reflector store → the subscribers' callbacks → progress. In
//! that order, so that whoever waits for progress finds the cache and every index already there.
//!
//! *Guarantees.* A subscriber is called for every object there is when it subscribes and for every
//! change after that; after a lost watch it is called again for every object, and for those that vanished.
//! Cached objects lack `metadata.managedFields`; a PUT without them keeps them on the server.

use std::any::{Any, TypeId};
use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::{Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::memory::{Memory, remembered};
use super::relist;

/// A kind that can be cached: every k8s-openapi type with metadata.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync + 'static
{
}
impl<K> Cached for K where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug + Send + Sync + 'static
{
}

/// What happened to one object. `old` is the very `Arc` that an earlier change brought as `new`.
#[derive(Debug)]
pub struct Change<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest known state: the last one of an object that is gone.
    pub fn object(&self) -> &Arc<K> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has a state before or after")
    }
}

type Callback<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// How far a cache has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The newest revision seen.
    pub revision: u64,
    pub lists_begun: u64,
    /// The number, counted in `lists_begun`, of the newest list that is complete.
    pub list_done: u64,
    /// The newest list is the server's own, not a memory of it.
    pub confirmed: bool,
}

struct Shared<K: Cached> {
    store: Store<K>,
    /// Held while callbacks run, so that a new subscriber neither misses nor repeats a change.
    callbacks: Mutex<Vec<Callback<K>>>,
    progress: watch::Sender<Progress>,
}

/// A handle on the cache of one kind. Cheap to clone.
pub struct Informer<K: Cached>(Arc<Shared<K>>);

impl<K: Cached> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Cached> Informer<K> {
    pub fn store(&self) -> &Store<K> {
        &self.0.store
    }

    /// The object by namespace (empty for a cluster-scoped kind) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let mut key = ObjectRef::new(name);
        if !namespace.is_empty() {
            key = key.within(namespace);
        }
        self.0.store.get(&key)
    }

    /// Returns when the first list is complete: the server's, or where it does not answer the remembered one.
    pub async fn wait_ready(&self) {
        self.wait_for(|progress| progress.list_done > 0).await;
    }

    /// Returns when the server itself has listed: what is not in the cache then does not exist.
    pub async fn wait_confirmed(&self) {
        self.wait_for(|progress| progress.confirmed).await;
    }

    async fn wait_for(&self, state: impl FnMut(&Progress) -> bool) {
        let mut progress = self.0.progress.subscribe();
        if progress.wait_for(state).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Calls `callback` for every object there is and for every change to come, from the watching
    /// task: it must be quick, and must not subscribe to the same kind.
    pub fn on_change(&self, callback: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut callbacks = self.0.callbacks.lock();
        for object in self.0.store.state() {
            callback(&Change { old: None, new: Some(object) });
        }
        callbacks.push(Box::new(callback));
    }

    /// References to changed objects, each at most once until it is taken: a slow reader holds no
    /// more than one reference per object. Begins with every object there is.
    pub fn changes(&self) -> Changes<K> {
        let (wake, woken) = watch::channel(());
        let pending: Arc<Mutex<HashSet<ObjectRef<K>>>> = Arc::default();
        let filled = pending.clone();
        self.on_change(move |change| {
            filled.lock().insert(ObjectRef::from_obj(change.object().as_ref()));
            wake.send_replace(());
        });
        Changes(Box::pin(futures::stream::unfold((pending, woken), |(pending, mut woken)| async move {
            loop {
                woken.mark_unchanged();
                let next = { pending.lock().iter().next().cloned() };
                if let Some(next) = next {
                    pending.lock().remove(&next);
                    return Some((next, (pending, woken)));
                }
                woken.changed().await.ok()?;
            }
        })))
    }

    pub(super) fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }

    fn dispatch(&self, change: &Change<K>) {
        for callback in self.0.callbacks.lock().iter() {
            callback(change);
        }
    }
}

/// See [`Informer::changes`].
pub struct Changes<K: Cached>(Pin<Box<dyn Stream<Item = ObjectRef<K>> + Send>>);

impl<K: Cached> Stream for Changes<K> {
    type Item = ObjectRef<K>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

type Lists = Arc<Mutex<Vec<(String, watch::Receiver<Progress>)>>>;
type ByKind = HashMap<(TypeId, String), Box<dyn Any + Send>>;

/// The caches of a process, started when first asked for. Cheap to clone; dropping the last clone stops them.
#[derive(Clone)]
pub struct Informers(Arc<Inner>);

struct Inner {
    client: Client,
    /// Where each cache is remembered for times without a server, if it is.
    memory: Option<PathBuf>,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: Mutex<ByKind>,
    /// How far each of them is, whatever its kind.
    lists: Lists,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Informers {
    pub fn new(client: Client) -> Self {
        Self::remembering(client, None)
    }

    /// Caches that begin with what is in this folder where the server does not answer.
    pub fn remembering(client: Client, memory: Option<PathBuf>) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        Self(Arc::new(Inner { client, memory, stop, tasks, running: Mutex::default(), lists: Lists::default() }))
    }

    /// The cache of all objects of a kind. Call within a tokio runtime.
    pub fn get<K: Cached>(&self) -> Informer<K> {
        self.selected("")
    }

    /// The cache of those objects that a field selector picks, such as `spec.nodeName=n1`.
    pub fn selected<K: Cached>(&self, fields: &str) -> Informer<K> {
        let mut running = self.0.running.lock();
        if let Some(informer) = find(&running, fields) {
            return informer;
        }
        let informer = self.start(fields);
        running.insert((TypeId::of::<K>(), fields.to_owned()), Box::new(informer.clone()));
        informer
    }

    /// The cache of all objects of a kind, if somebody has asked for it.
    pub(super) fn running<K: Cached>(&self) -> Option<Informer<K>> {
        find(&self.0.running.lock(), "")
    }

    /// Tells, whenever it is called, the kinds whose first list is not complete yet. Does not keep the caches running.
    pub fn unready(&self) -> impl Fn() -> Vec<String> + Send + Sync + 'static {
        let lists = self.0.lists.clone();
        move || {
            let lists = lists.lock();
            let waiting = lists.iter().filter(|(_, progress)| progress.borrow().list_done == 0);
            waiting.map(|(kind, _)| kind.clone()).collect()
        }
    }

    /// Stops every watch and waits for the tasks.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn start<K: Cached>(&self, fields: &str) -> Informer<K> {
        let writer = Writer::<K>::default();
        let shared =
            Shared { store: writer.as_reader(), callbacks: Mutex::default(), progress: watch::Sender::default() };
        let informer = Informer(Arc::new(shared));
        let mut config = watcher::Config::default();
        if !fields.is_empty() {
            config = config.fields(fields);
        }
        // The selection is part of the name: another one is another memory.
        let name = format!("{}{}{fields}", K::plural(&()), if fields.is_empty() { "" } else { "." });
        let memory = self.0.memory.as_ref().map(|dir| Memory { file: dir.join(name), without: &[], synced: true });
        let events = remembered(relist::watch(Api::<K>::all(self.0.client.clone()), config), memory);
        let confirmed = events.confirmed();
        self.0.lists.lock().push((K::plural(&()).into_owned(), informer.progress()));
        let stop = self.0.stop.clone();
        let events = events.take_until(stop.cancelled_owned());
        self.0.tasks.spawn(follow(informer.clone(), writer, events, confirmed));
        informer
    }
}

fn find<K: Cached>(running: &ByKind, fields: &str) -> Option<Informer<K>> {
    let found = running.get(&(TypeId::of::<K>(), fields.to_owned()))?;
    found.downcast_ref::<Informer<K>>().cloned()
}

async fn follow<K: Cached>(
    informer: Informer<K>,
    mut writer: Writer<K>,
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    confirmed: watch::Receiver<bool>,
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(&informer, &mut writer, event, *confirmed.borrow()),
            Err(error) => tracing::debug!(kind = %K::kind(&()), %error, "watch failed, will be resumed"),
        }
    }
}

/// Brings one event into the cache, to the subscribers, and into the progress.
fn take<K: Cached>(informer: &Informer<K>, writer: &mut Writer<K>, event: watcher::Event<K>, confirmed: bool) {
    let event = event.modify(|object| object.meta_mut().managed_fields = None);
    let store = informer.store();
    let mut progress = *informer.0.progress.borrow();
    match &event {
        watcher::Event::Apply(object) | watcher::Event::Delete(object) => {
            let key = ObjectRef::from_obj(object);
            progress.revision = progress.revision.max(revision(object));
            let old = store.get(&key);
            writer.apply_watcher_event(&event);
            let new = store.get(&key);
            if old.is_some() || new.is_some() {
                informer.dispatch(&Change { old, new });
            }
        }
        watcher::Event::Init => {
            progress.lists_begun += 1;
            writer.apply_watcher_event(&event);
        }
        watcher::Event::InitApply(object) => {
            progress.revision = progress.revision.max(revision(object));
            writer.apply_watcher_event(&event);
            // Not a state that readers can see yet, and progress says so by waiting for the end of the list.
            return informer.0.progress.send_modify(|p| p.lists_begun = progress.lists_begun);
        }
        watcher::Event::InitDone => {
            let mut old = by_ref(store.state());
            writer.apply_watcher_event(&event);
            for (key, new) in by_ref(store.state()) {
                progress.revision = progress.revision.max(revision(new.as_ref()));
                informer.dispatch(&Change { old: old.remove(&key), new: Some(new) });
            }
            for gone in old.into_values() {
                informer.dispatch(&Change { old: Some(gone), new: None });
            }
            progress.list_done = progress.lists_begun;
            progress.confirmed = confirmed;
        }
    }
    informer.0.progress.send_replace(progress);
}

fn by_ref<K: Cached>(objects: Vec<Arc<K>>) -> HashMap<ObjectRef<K>, Arc<K>> {
    objects.into_iter().map(|object| (ObjectRef::from_obj(object.as_ref()), object)).collect()
}

/// The revision of an object; 0 where its version is not a number.
pub(super) fn revision<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use watcher::Event;

    use super::super::index::Index;
    use super::*;

    fn object(name: &str, revision: u64, label: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("ns".to_owned());
        object.metadata.resource_version = Some(revision.to_string());
        object.metadata.labels = Some([("l".to_owned(), label.to_owned())].into());
        object.metadata.managed_fields = Some(vec![Default::default()]);
        object
    }

    fn new() -> (Informer<ConfigMap>, Writer<ConfigMap>) {
        let writer = Writer::default();
        let shared =
            Shared { store: writer.as_reader(), callbacks: Mutex::default(), progress: watch::Sender::default() };
        (Informer(Arc::new(shared)), writer)
    }

    fn list(informer: &Informer<ConfigMap>, writer: &mut Writer<ConfigMap>, objects: Vec<ConfigMap>) {
        take(informer, writer, Event::Init, true);
        for object in objects {
            take(informer, writer, Event::InitApply(object), true);
        }
        take(informer, writer, Event::InitDone, true);
    }

    #[tokio::test]
    async fn indexes_follow_changes_and_lists() {
        let (informer, mut writer) = new();
        list(&informer, &mut writer, vec![object("a", 1, "x"), object("b", 2, "y")]);
        let by_label =
            Index::new(&informer, |o: &ConfigMap| o.metadata.labels.iter().flatten().map(|l| l.1.clone()).collect());
        let names = |label: &str| {
            let mut names: Vec<_> =
                by_label.get(&label.to_owned()).iter().filter_map(|o| o.metadata.name.clone()).collect();
            names.sort();
            names
        };
        assert_eq!((names("x"), names("y")), (vec!["a".to_owned()], vec!["b".to_owned()]));
        take(&informer, &mut writer, Event::Apply(object("a", 3, "y")), true);
        assert_eq!((names("x"), names("y")), (vec![], vec!["a".to_owned(), "b".to_owned()]));
        take(&informer, &mut writer, Event::Delete(object("b", 4, "y")), true);
        assert_eq!(names("y"), ["a"]);
        list(&informer, &mut writer, vec![object("c", 5, "x")]);
        assert_eq!((names("x"), names("y")), (vec!["c".to_owned()], vec![]));
        assert!(informer.get("ns", "c").expect("cached").metadata.managed_fields.is_none());
    }

    #[tokio::test]
    async fn progress_is_seen_after_the_cache() {
        let (informer, mut writer) = new();
        let progress = informer.progress();
        take(&informer, &mut writer, Event::Init, true);
        take(&informer, &mut writer, Event::InitApply(object("a", 7, "x")), true);
        assert_eq!((progress.borrow().revision, progress.borrow().list_done), (0, 0));
        take(&informer, &mut writer, Event::InitDone, true);
        assert_eq!((progress.borrow().revision, progress.borrow().list_done), (7, 1));
        take(&informer, &mut writer, Event::Delete(object("a", 9, "x")), true);
        assert_eq!(progress.borrow().revision, 9);
        assert!(informer.get("ns", "a").is_none());
    }

    #[tokio::test]
    async fn references_wait_once_each() {
        let (informer, mut writer) = new();
        list(&informer, &mut writer, vec![object("a", 1, "x")]);
        let mut changes = informer.changes();
        for revision in 2..100 {
            take(&informer, &mut writer, Event::Apply(object("a", revision, "x")), true);
        }
        assert_eq!(changes.next().await.map(|r| r.name).as_deref(), Some("a"));
        assert!(futures::poll!(changes.next()).is_pending());
        take(&informer, &mut writer, Event::Delete(object("a", 100, "x")), true);
        assert_eq!(changes.next().await.map(|r| r.name).as_deref(), Some("a"));
    }
}
