//! Secondary indexes over a cache, so that a lookup costs what it finds and not what there is.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::RwLock;

use super::informer::{Cached, Change, Informer};

/// Objects by keys derived from them. An `Arc` has one address for as long as it is cached.
type Entries<I, K> = HashMap<I, HashMap<usize, Arc<K>>>;

/// The objects of a cache by some property: pods by their controller's UID, by namespace, by node.
/// As new as the cache itself whenever the barrier is passed.
pub struct Index<I, K>(Arc<RwLock<Entries<I, K>>>);

impl<I, K> Clone for Index<I, K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I: Hash + Eq + Send + Sync + 'static, K: Cached> Index<I, K> {
    /// Follows `informer`; `keys` says under what an object is found, and must depend on nothing else.
    pub fn new(informer: &Informer<K>, keys: impl Fn(&K) -> Vec<I> + Send + Sync + 'static) -> Self {
        let entries: Arc<RwLock<Entries<I, K>>> = Arc::default();
        let filled = entries.clone();
        informer.on_change(move |change| update(&mut filled.write(), &keys, change));
        Self(entries)
    }

    /// What is found under `key`, in no order.
    pub fn get(&self, key: &I) -> Vec<Arc<K>> {
        let entries = self.0.read();
        entries.get(key).map(|found| found.values().cloned().collect()).unwrap_or_default()
    }

    pub fn contains(&self, key: &I) -> bool {
        self.0.read().contains_key(key)
    }
}

fn update<I: Hash + Eq, K: Cached>(entries: &mut Entries<I, K>, keys: &impl Fn(&K) -> Vec<I>, change: &Change<K>) {
    if let Some(old) = &change.old {
        let address = Arc::as_ptr(old) as usize;
        for key in keys(old) {
            if let Some(found) = entries.get_mut(&key) {
                found.remove(&address);
                if found.is_empty() {
                    entries.remove(&key);
                }
            }
        }
    }
    if let Some(new) = &change.new {
        for key in keys(new) {
            entries.entry(key).or_default().insert(Arc::as_ptr(new) as usize, new.clone());
        }
    }
}
