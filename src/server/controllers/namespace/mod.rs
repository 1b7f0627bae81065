//! The namespace controller: empties a namespace that is being deleted, then lets it go.
//!
//! Pods go first, because others may still serve them; then everything else that discovery
//! knows. What is left is told in the conditions. Nothing is done to namespaces that are not being deleted.

mod status;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};

use super::catalog::{self, Resource};
use crate::reconcile::{Action, Context, Controller, Env, Error, Informer, Key, Watches};
use status::Found;

const FINALIZER: &str = "kubernetes";
/// What remains because of finalizers has no term: it is looked at again after this.
const NO_TERM: Duration = Duration::from_secs(5);

pub struct Namespaces {
    namespaces: Informer<Namespace>,
    pods: Informer<Pod>,
}

impl Namespaces {
    pub fn new(env: &Env) -> Self {
        Self { namespaces: env.informers.get(), pods: env.informers.get() }
    }
}

fn is_deleting(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

fn finalizers(namespace: &Namespace) -> Vec<String> {
    namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default()
}

#[async_trait]
impl Controller for Namespaces {
    type Key = Key;

    fn name(&self) -> &'static str {
        "namespace"
    }

    fn watches(self: Arc<Self>, watches: &mut Watches<Key>) {
        watches.on(&self.namespaces, |change| {
            let namespace = change.new.as_ref().filter(|namespace| is_deleting(namespace));
            namespace.map(|namespace| Key::of(namespace.as_ref()))
        });
        let this = self.clone();
        watches.on(&self.pods, move |change| {
            let name = change.old.as_ref().filter(|_| change.new.is_none())?.metadata.namespace.clone()?;
            let namespace = this.namespaces.get("", &name)?;
            is_deleting(&namespace).then(|| Key::new("", name))
        });
    }

    async fn reconcile(&self, cx: &Context, key: &Key) -> Result<Action, Error> {
        let Some(namespace) = self.namespaces.get("", &key.name).filter(|n| is_deleting(n)) else {
            return Ok(Action::done());
        };
        if !finalizers(&namespace).iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(Action::done());
        }
        let writer = cx.cluster::<Namespace>();
        let mut namespace = (*namespace).clone();
        if namespace.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Terminating") {
            namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
            namespace = writer.replace_status(&namespace).await?;
        }
        let (found, term) = empty(&cx.env.client, &key.name).await;
        let status = status::status(&namespace, &found, cx.env.clock.now());
        if namespace.status.as_ref() != Some(&status) {
            namespace.status = Some(status);
            namespace = writer.replace_status(&namespace).await?;
        }
        if !found.is_empty() {
            return Ok(Action::after(term));
        }
        let left = finalizers(&namespace).into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
        namespace.spec.get_or_insert_default().finalizers = Some(left);
        let params = PostParams::default();
        let done = writer.api().replace_subresource("finalize", &key.name, &params, &namespace).await;
        match done {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Action::done()),
            other => Ok(other.map(|_| Action::done())?),
        }
    }
}

/// Deletes what is there, pods before everything else; says what is left and when to look again.
async fn empty(client: &Client, namespace: &str) -> (Found, Duration) {
    let mut found = Found::default();
    let mut term = Duration::ZERO;
    let resources = match catalog::resources(client).await {
        Ok(resources) => resources,
        Err(error) => {
            found.discovery_error = Some(error.to_string());
            return (found, NO_TERM);
        }
    };
    let ours = resources.into_iter().filter(|resource| resource.namespaced && resource.collectable);
    let (pods, others): (Vec<_>, Vec<_>) = ours.partition(|r| r.api.group.is_empty() && r.api.plural == "pods");
    for stage in [pods, others] {
        for (resource, outcome) in join_all(
            stage.iter().map(|resource| async move { (resource, delete_all(client, resource, namespace).await) }),
        )
        .await
        {
            match outcome {
                Ok(left) => {
                    term = term.max(note(&mut found, resource, &left));
                }
                Err(error) => found.deletion_errors.push(Error::Api(error).message()),
            }
        }
        if !found.is_empty() {
            break;
        }
    }
    (found, if term.is_zero() { NO_TERM } else { term / 2 + Duration::from_secs(1) })
}

/// Counts what is left of a resource; says how long it may take to end by itself.
fn note(found: &mut Found, resource: &Resource, left: &[PartialObjectMeta<DynamicObject>]) -> Duration {
    if left.is_empty() {
        return Duration::ZERO;
    }
    let name = format!("{}.{}", resource.api.plural, resource.api.group);
    found.remaining.insert(name, left.len());
    let mut seconds = 0;
    for object in left {
        for finalizer in object.finalizers() {
            *found.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        seconds = seconds.max(object.metadata.deletion_grace_period_seconds.unwrap_or(0));
    }
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

async fn delete_all(
    client: &Client,
    resource: &Resource,
    namespace: &str,
) -> Result<Vec<PartialObjectMeta<DynamicObject>>, kube::Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource.api);
    let everything = ListParams::default();
    let before = api.list_metadata(&everything).await?.items;
    if before.is_empty() {
        return Ok(before);
    }
    let background = DeleteParams::background();
    if resource.deletes_collections {
        api.delete_collection(&background, &everything).await?;
    } else {
        for object in before.iter().filter(|object| object.metadata.deletion_timestamp.is_none()) {
            match api.delete(&object.name_any(), &background).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => drop(other?),
            }
        }
    }
    Ok(api.list_metadata(&everything).await?.items)
}
