//! Protection of storage objects in use: what was deleted stays, by a finalizer, until nobody uses it.
//!
//! Admission gives the finalizer to new objects, this gives it to old ones and takes it away. Whether something is in
//! use is looked up past the caches, because a finalizer taken away too early loses data.

mod claims;
mod classes;
mod volumes;

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde::Serialize;
use serde_json::json;

use crate::reconcile::{Action, Cached, Context, Controller, Env, Error, Informer, Key, Watches, Writer};

/// A kind whose objects are kept while they are used.
#[async_trait]
trait Protected: Cached + Serialize {
    const NAME: &'static str;
    const FINALIZER: &'static str;
    fn writer<'a>(cx: &'a Context, namespace: &str) -> Writer<'a, Self>;
    async fn in_use(&self, cx: &Context) -> Result<bool, Error>;
}

/// The controller of one protected kind.
pub struct Protection<K: Cached> {
    objects: Informer<K>,
    /// Declares what else may end a use.
    users: fn(&Env, &mut Watches<Key>),
    env: Env,
}

pub fn claims(env: &Env) -> Protection<PersistentVolumeClaim> {
    let users = |env: &Env, watches: &mut Watches<Key>| {
        watches.on(&env.informers.get::<Pod>(), claims::freed);
    };
    Protection { objects: env.informers.get(), users, env: env.clone() }
}

/// A volume's own status says whether it is used.
pub fn volumes(env: &Env) -> Protection<PersistentVolume> {
    Protection { objects: env.informers.get(), users: |_, _| {}, env: env.clone() }
}

pub fn classes(env: &Env) -> Protection<VolumeAttributesClass> {
    let users = |env: &Env, watches: &mut Watches<Key>| {
        watches.on(&env.informers.get::<PersistentVolume>(), classes::named_by_volume);
        watches.on(&env.informers.get::<PersistentVolumeClaim>(), classes::named_by_claim);
    };
    Protection { objects: env.informers.get(), users, env: env.clone() }
}

#[async_trait]
#[allow(private_bounds, reason = "only the three kinds of this file are protected")]
impl<K: Protected> Controller for Protection<K> {
    type Key = Key;

    fn name(&self) -> &'static str {
        K::NAME
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.objects, |change| change.new.as_ref().map(|object| Key::of(object.as_ref())));
        (self.users)(&self.env, watches);
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(object) = self.objects.get(&key.namespace, &key.name) else { return Ok(Action::done()) };
        let meta = object.meta();
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        let protected = finalizers.iter().any(|name| name == K::FINALIZER);
        match (meta.deletion_timestamp.is_some(), protected) {
            (false, false) => finalizers.push(K::FINALIZER.to_owned()),
            (true, true) if !object.in_use(cx).await? => finalizers.retain(|name| name != K::FINALIZER),
            _ => return Ok(Action::done()),
        }
        // The revision makes the patch fail where the list has changed meanwhile.
        let patch = json!({"metadata": {
            "finalizers": finalizers, "uid": meta.uid, "resourceVersion": meta.resource_version,
        }});
        match K::writer(cx, &key.namespace).merge(&key.name, &patch).await {
            Err(error) if error.reason() == "NotFound" => Ok(Action::done()),
            other => other.map(|_| Action::done()),
        }
    }
}
