//! The ConfigMaps and Secrets that pods of this node refer to: one watch for each object in use and none
//! for others, so that a node sees only what its pods need. A watch ends with its last user.
//!
//! Each is remembered below the run directory, which is memory and not disk, for times without a server; and for as long
//! as a pod of this node refers to it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use std::{fs, io};

use futures::{FutureExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::reconcile::memory::{Memory, Remembered, journal, remembered};
use crate::reconcile::{Cached, relist};

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
    /// `<dir>/<namespace>/<name>` remembers an object.
    dir: PathBuf,
}

impl<K: Cached + Resource<Scope = NamespaceResourceScope>> Cache<K> {
    fn new(kind: &'static str, dir: PathBuf) -> Self {
        Self { entries: Mutex::default(), kind, dir }
    }

    fn watch(&self, client: &Client, namespace: &str, name: &str) -> Watched<K> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut entries = self.entries.lock();
        let entry = entries.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            entries.retain(|_, entry| entry.strong_count() > 0);
            let file = self.dir.join(namespace).join(name);
            let selection = watcher::Config::default().fields(&format!("metadata.name={name}"));
            let events = relist::watch(Api::namespaced(client.clone(), namespace), selection);
            let memory = Memory { file, without: &[], synced: false };
            let entry = Arc::new(follow(remembered(events, Some(memory))));
            entries.insert(key, Arc::downgrade(&entry));
            entry
        });
        Watched { state: entry.state.clone(), kind: self.kind, _entry: entry }
    }
}

fn follow<K: Cached>(mut events: Remembered<K>) -> Entry<K> {
    let (sender, state) = watch::channel(None);
    let task = tokio::spawn(async move {
        let mut found = None;
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

const CONFIG_MAPS: &str = "configmaps";
const SECRETS: &str = "secrets";

/// Where the objects that a pod names are remembered, below the folder of all of them.
pub fn remembered_as(namespace: &str, config_maps: &[String], secrets: &[String]) -> Vec<PathBuf> {
    let path = |kind: &str, name: &String| [kind, namespace, name].iter().collect();
    let maps = config_maps.iter().map(|name| path(CONFIG_MAPS, name));
    maps.chain(secrets.iter().map(|name| path(SECRETS, name))).collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// All referenced objects of the node.
pub struct Sources {
    client: Client,
    dir: PathBuf,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
}

impl Sources {
    /// `memory` is a folder on no disk.
    pub fn new(client: Client, memory: &Path) -> Self {
        let config_maps = Cache::new("configmap", memory.join(CONFIG_MAPS));
        Self { client, config_maps, secrets: Cache::new("secret", memory.join(SECRETS)), dir: memory.to_owned() }
    }

    /// Forgets every object but these, which are paths as [`remembered_as`] gives them.
    pub fn forget_others(&self, in_use: &HashSet<PathBuf>) {
        for kind in [CONFIG_MAPS, SECRETS] {
            for namespace in entries(&self.dir.join(kind)) {
                for file in entries(&namespace) {
                    let known = file
                        .strip_prefix(&self.dir)
                        .is_ok_and(|path| in_use.contains(path) || in_use.contains(&journal::of_part(path)));
                    if known {
                        continue;
                    }
                    match fs::remove_file(&file) {
                        // Pods that end at once forget at once.
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            tracing::warn!(path = %file.display(), %error, "an object in nobody's use is still remembered");
                        }
                        _ => {}
                    }
                }
                // Only an empty one goes.
                let _ = fs::remove_dir(&namespace);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_pod_names_any_more_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let named = |maps: &[&str], secrets: &[&str]| {
            let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            remembered_as("ns", &owned(maps), &owned(secrets))
        };
        for path in named(&["a", "b"], &["a"]) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let making = dir.path().join("configmaps/ns/b.new");
        fs::write(&making, "").unwrap();
        let nobody = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody is there"))
        });
        let sources = Sources::new(Client::new(nobody, "ns"), dir.path());
        sources.forget_others(&named(&["b"], &[]).into_iter().collect());
        let left = |kind: &str| entries(&dir.path().join(kind).join("ns")).len();
        assert_eq!((left(CONFIG_MAPS), left(SECRETS)), (2, 0));
        assert!(dir.path().join("configmaps/ns/b").exists() && making.exists());
        assert_eq!(entries(&dir.path().join(SECRETS)), Vec::<PathBuf>::new());
    }
}
