//! Typed reads of what is stored now, for admission plugins and subresources. Never writes.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::commit::store_failure;
use crate::api::status::{Failure, Result};
use crate::server::catalog::catalog;
use crate::server::strategy::Meta;
use crate::store::{ListOptions, Store};

#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a dyn Store);

fn meta_of<K: Resource>() -> Result<&'static Meta> {
    let kind = catalog().find_kind(K::GROUP, K::VERSION, K::KIND);
    kind.map(|kind| kind.meta()).ok_or_else(|| Failure::internal(format!("{} is not in the catalog", K::KIND)))
}

fn decode<K: DeserializeOwned>(bytes: &[u8]) -> Result<K> {
    serde_json::from_slice(bytes).map_err(Failure::internal)
}

impl<'a> Reader<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        Self(store)
    }

    pub fn get<K>(&self, namespace: &str, name: &str) -> Result<Option<K>>
    where
        K: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned,
    {
        self.part_of::<K, K>(namespace, name)
    }

    /// As much of an object of kind `K` as `T` holds.
    pub fn part_of<K: Resource, T: DeserializeOwned>(&self, namespace: &str, name: &str) -> Result<Option<T>> {
        let key = meta_of::<K>()?.key(namespace, name);
        self.0.get(&key).map(|item| decode(&item.value)).transpose()
    }

    /// The same of an object that somebody is about to create: waits for it, at most `patience`.
    pub async fn awaited<K: Resource, T: DeserializeOwned>(
        &self,
        namespace: &str,
        name: &str,
        patience: Duration,
    ) -> Result<Option<T>> {
        let found = self.part_of::<K, T>(namespace, name)?;
        if found.is_some() {
            return Ok(found);
        }
        let deadline = Instant::now() + patience;
        let key = meta_of::<K>()?.key(namespace, name);
        let mut changes = self.0.watch(&key, self.0.revision()).await.map_err(|e| store_failure(&e))?;
        loop {
            let found = self.part_of::<K, T>(namespace, name)?;
            if found.is_some() {
                return Ok(found);
            }
            match timeout_at(deadline, changes.events.recv()).await {
                Ok(Some(Ok(_))) => {}
                _ => return self.part_of::<K, T>(namespace, name),
            }
        }
    }

    /// All of a kind; `namespace` empty for every namespace.
    pub async fn list<K>(&self, namespace: &str) -> Result<Vec<K>>
    where
        K: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned,
    {
        let mut prefix = meta_of::<K>()?.prefix();
        if !namespace.is_empty() {
            prefix.push_str(namespace);
            prefix.push('/');
        }
        let page = self.0.list(&prefix, ListOptions::default()).await.map_err(|e| store_failure(&e))?;
        page.items.iter().map(|item| decode(&item.value)).collect()
    }
}
