//! What a controller has in its hands while it reconciles a key, and the read-your-writes barrier.
//!
//! Revisions are one sequence. Every write made through a [`Writer`] is noted, and the loop does not
//! plan the key again before the caches have seen the notes: no expectations, no guessing. A write of
//! a kind that nobody caches is not waited for, because nobody can read it stale.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::controller::Error;
use super::events::EventSink;
use super::informer::{Cached, Informer, Informers, revision};
use super::metrics::Metrics;

/// Longer than any healthy cache lags. Only a server that breaks its word about revisions gets here,
/// and a key that never runs again would be worse than one planned on old data.
const BARRIER_LIMIT: Duration = Duration::from_secs(30);

/// What all controllers of a process share.
#[derive(Clone)]
pub struct Env {
    pub client: Client,
    pub informers: Informers,
    pub events: EventSink,
    pub clock: Clock,
    pub metrics: Metrics,
    pub stop: CancellationToken,
}

impl Env {
    pub fn new(client: Client) -> Self {
        let clock = Clock::system();
        Self {
            informers: Informers::new(client.clone()),
            events: EventSink::start(client.clone(), clock.clone()),
            client,
            clock,
            metrics: Metrics::default(),
            stop: CancellationToken::new(),
        }
    }
}

type Note = BoxFuture<'static, ()>;

/// One run of one key.
pub struct Context {
    pub env: Env,
    notes: Mutex<Vec<Note>>,
}

impl Context {
    pub fn new(env: Env) -> Self {
        Self { env, notes: Mutex::default() }
    }

    /// Writes objects of a namespaced kind.
    pub fn namespaced<K>(&self, namespace: &str) -> Writer<'_, K>
    where
        K: Cached + Resource<Scope = NamespaceResourceScope>,
    {
        Writer { api: Api::namespaced(self.env.client.clone(), namespace), cx: self }
    }

    /// Writes objects of a cluster-scoped kind.
    pub fn cluster<K>(&self) -> Writer<'_, K>
    where
        K: Cached + Resource<Scope = ClusterResourceScope>,
    {
        Writer { api: Api::all(self.env.client.clone()), cx: self }
    }

    /// Returns when the caches have seen every write made so far.
    pub async fn barrier(&self) {
        let notes: Vec<_> = std::mem::take(&mut *self.notes.lock());
        let all = futures::future::join_all(notes);
        if tokio::time::timeout(BARRIER_LIMIT, all).await.is_err() {
            tracing::warn!("a cache did not show our own write within {BARRIER_LIMIT:?}; going on without it");
        }
    }

    fn note<K: Cached>(&self, seen: impl Fn(&Informer<K>) -> bool + Send + Sync + 'static, at: u64) {
        if let Some(informer) = self.env.informers.running::<K>() {
            self.notes.lock().push(seen_by(informer, seen, at).boxed());
        }
    }
}

/// Returns when the cache is at `at`, or satisfies `seen`, or was listed anew since this was called.
async fn seen_by<K: Cached>(informer: Informer<K>, seen: impl Fn(&Informer<K>) -> bool, at: u64) {
    let mut progress = informer.progress();
    let begun = progress.borrow().lists_begun;
    let done = |p: &super::informer::Progress| p.revision >= at || p.list_done > begun || seen(&informer);
    // An error means that the cache is being stopped, and with it the controller.
    let _ = progress.wait_for(done).await;
}

/// An `Api` whose writes are noted for the barrier.
pub struct Writer<'a, K> {
    api: Api<K>,
    cx: &'a Context,
}

impl<K: Cached + Serialize> Writer<'_, K> {
    /// For reads past the cache.
    pub fn api(&self) -> &Api<K> {
        &self.api
    }

    pub async fn create(&self, object: &K) -> Result<K, Error> {
        Ok(self.wrote(self.api.create(&PostParams::default(), object).await?))
    }

    /// Replaces the object; fails with a conflict where it is not at the revision that `object` has.
    pub async fn replace(&self, object: &K) -> Result<K, Error> {
        Ok(self.wrote(self.api.replace(name(object), &PostParams::default(), object).await?))
    }

    pub async fn replace_status(&self, object: &K) -> Result<K, Error> {
        Ok(self.wrote(self.api.replace_status(name(object), &PostParams::default(), object).await?))
    }

    /// A JSON merge patch. With `metadata.uid` or `metadata.resourceVersion` in it, a precondition.
    pub async fn merge(&self, name: &str, patch: &Value) -> Result<K, Error> {
        Ok(self.wrote(self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?))
    }

    pub async fn merge_status(&self, name: &str, patch: &Value) -> Result<K, Error> {
        Ok(self.wrote(self.api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?))
    }

    /// A strategic merge patch.
    pub async fn strategic(&self, name: &str, patch: &Value) -> Result<K, Error> {
        Ok(self.wrote(self.api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await?))
    }

    pub async fn strategic_status(&self, name: &str, patch: &Value) -> Result<K, Error> {
        Ok(self.wrote(self.api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await?))
    }

    /// Deletes the object; that it is gone already is success.
    pub async fn delete(&self, object: &K, params: &DeleteParams) -> Result<(), Error> {
        let outcome = self.api.delete(name(object), params).await;
        match outcome {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        // The answer to a deletion need not carry its revision: wait for the object's end instead.
        let meta = object.meta();
        let (namespace, name, uid) = (meta.namespace.clone(), meta.name.clone(), meta.uid.clone());
        self.cx.note::<K>(
            move |informer| {
                let found = informer.get(namespace.as_deref().unwrap_or(""), name.as_deref().unwrap_or(""));
                found.is_none_or(|found| found.meta().uid != uid || found.meta().deletion_timestamp.is_some())
            },
            u64::MAX,
        );
        Ok(())
    }

    fn wrote(&self, object: K) -> K {
        self.cx.note::<K>(|_| false, revision(&object));
        object
    }
}

fn name<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}
