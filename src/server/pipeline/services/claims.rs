//! Who was given what. A claim under way blocks others; afterwards only what is stored does.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Owner {
    key: Arc<str>,
    /// Writes under way that count on the claim.
    pending: Arc<AtomicUsize>,
}

pub struct Claims<T>(HashMap<T, Owner>);

impl<T> Default for Claims<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// Holds a claim for the duration of a write.
pub struct Claim(Arc<AtomicUsize>);

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<T: Eq + Hash> Claims<T> {
    /// A value that a stored object has.
    pub fn stored(&mut self, value: T, key: Arc<str>) {
        self.0.insert(value, Owner { key, pending: Arc::default() });
    }

    /// Whether an object other than `key` has the value; `has` looks into what is stored.
    pub fn taken(&self, value: &T, key: &str, has: impl Fn(&str) -> bool) -> bool {
        let Some(owner) = self.0.get(value).filter(|owner| *owner.key != *key) else { return false };
        owner.pending.load(Ordering::Acquire) > 0 || has(&owner.key)
    }

    /// Gives the value to `key`. The caller has asked [`Self::taken`] under the same lock.
    pub fn claim(&mut self, value: T, key: Arc<str>) -> Claim {
        let owner = self.0.entry(value).or_insert_with(|| Owner { key: key.clone(), pending: Arc::default() });
        if owner.key != key {
            *owner = Owner { key, pending: Arc::default() };
        }
        owner.pending.fetch_add(1, Ordering::AcqRel);
        Claim(owner.pending.clone())
    }
}
