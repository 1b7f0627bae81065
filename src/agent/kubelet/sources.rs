//! The ConfigMaps and Secrets that pods of this node refer to: one watch for each object in use and none
//! for others, so that a node sees only what its pods need. A watch ends with its last user.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// What is known of an object: nothing yet, that it is missing, or its content.
type Known<K> = Option<Option<Arc<K>>>;
type Key = (String, String);

/// How long a caller waits for the first answer of the API server.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error("failed to sync {0} cache: timed out waiting for the condition")]
pub struct Unsynced(&'static str);

struct Entry<K> {
    state: watch::Receiver<Known<K>>,
    task: tokio::task::AbortHandle,
}

impl<K> Drop for Entry<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One object in use.
pub struct Watched<K> {
    state: watch::Receiver<Known<K>>,
    kind: &'static str,
    _entry: Arc<Entry<K>>,
}

impl<K> Watched<K> {
    /// The object as last seen; waits for the first answer. `None` where it does not exist.
    pub async fn get(&mut self) -> Result<Option<Arc<K>>, Unsynced> {
        let kind = self.kind;
        let known = tokio::time::timeout(PATIENCE, self.state.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(known)) => Ok(known.clone().flatten()),
            _ => Err(Unsynced(kind)),
        }
    }

    /// Returns when the object was changed, created or deleted since the last look.
    pub async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

struct Cache<K> {
    entries: Mutex<HashMap<Key, Weak<Entry<K>>>>,
    kind: &'static str,
}

impl<K> Cache<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Default,
{
    fn new(kind: &'static str) -> Self {
        Self { entries: Mutex::default(), kind }
    }

    fn watch(&self, client: &Client, namespace: &str, name: &str) -> Watched<K> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut entries = self.entries.lock();
        let entry = entries.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            entries.retain(|_, entry| entry.strong_count() > 0);
            let entry = Arc::new(follow(Api::namespaced(client.clone(), namespace), name));
            entries.insert(key, Arc::downgrade(&entry));
            entry
        });
        Watched { state: entry.state.clone(), kind: self.kind, _entry: entry }
    }
}

fn follow<K>(api: Api<K>, name: &str) -> Entry<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (sender, state) = watch::channel(None);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let task = tokio::spawn(async move {
        let mut found = None;
        let mut events = watcher(api, config).default_backoff().boxed();
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Init)) => found = None,
                Ok(Some(watcher::Event::InitApply(object))) => found = Some(Arc::new(object)),
                Ok(Some(watcher::Event::InitDone)) => sender.send_modify(|known| *known = Some(found.take())),
                Ok(Some(watcher::Event::Apply(object))) => {
                    sender.send_modify(|known| *known = Some(Some(Arc::new(object))));
                }
                Ok(Some(watcher::Event::Delete(_))) => sender.send_modify(|known| *known = Some(None)),
                Ok(None) => return,
                Err(error) => tracing::debug!(%error, "watch of a referenced object"),
            }
        }
    });
    Entry { state, task: task.abort_handle() }
}

/// All referenced objects of the node.
pub struct Sources {
    client: Client,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
}

impl Sources {
    pub fn new(client: Client) -> Self {
        Self { client, config_maps: Cache::new("configmap"), secrets: Cache::new("secret") }
    }

    pub fn config_map(&self, namespace: &str, name: &str) -> Watched<ConfigMap> {
        self.config_maps.watch(&self.client, namespace, name)
    }

    pub fn secret(&self, namespace: &str, name: &str) -> Watched<Secret> {
        self.secrets.watch(&self.client, namespace, name)
    }
}

/// The objects that one pod refers to, held for as long as the pod runs.
#[derive(Default)]
pub struct PodSources {
    pub config_maps: std::collections::BTreeMap<String, Watched<ConfigMap>>,
    pub secrets: std::collections::BTreeMap<String, Watched<Secret>>,
}

impl PodSources {
    pub fn new(sources: &Sources, namespace: &str, config_maps: &[String], secrets: &[String]) -> Self {
        let maps = config_maps.iter().map(|name| (name.clone(), sources.config_map(namespace, name)));
        let secrets = secrets.iter().map(|name| (name.clone(), sources.secret(namespace, name)));
        Self { config_maps: maps.collect(), secrets: secrets.collect() }
    }

    pub async fn fetch(&mut self) -> Result<super::env::Fetched, Unsynced> {
        let mut fetched = super::env::Fetched::default();
        for (name, watched) in &mut self.config_maps {
            fetched.config_maps.insert(name.clone(), watched.get().await?);
        }
        for (name, watched) in &mut self.secrets {
            fetched.secrets.insert(name.clone(), watched.get().await?);
        }
        Ok(fetched)
    }

    /// Returns when any of them changed; never when there is none.
    pub async fn changed(&mut self) {
        let maps = self.config_maps.values_mut().map(|watched| watched.changed().boxed());
        let secrets = self.secrets.values_mut().map(|watched| watched.changed().boxed());
        let all: Vec<_> = maps.chain(secrets).collect();
        if all.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(all).await;
    }
}
