//! Who controls an object: controller references, the index over them, and adoption.
//!
//! A controller owns what has its reference. It adopts what matches its selector and has none, and
//! releases what no longer matches. [`claim`] decides that; [`execute`] writes it.

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::{Selector, SelectorExt};
use serde::Serialize;
use serde_json::json;

use crate::reconcile::{Cached, Context, Error, Index, Informer, Key, Writer};

/// Under what an object is found in an [`Owned`] index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The UID of its controller.
    Controller(String),
    /// It has none; its namespace.
    Nobody(String),
}

/// Objects by their controller.
pub type Owned<K> = Index<Owner, K>;

pub fn owned<K: Cached>(informer: &Informer<K>) -> Owned<K> {
    Index::new(informer, |object: &K| {
        let meta = object.meta();
        vec![match controller_of(meta) {
            Some(controller) => Owner::Controller(controller.uid.clone()),
            None => Owner::Nobody(meta.namespace.clone().unwrap_or_default()),
        }]
    })
}

/// What a controller may own: what it does own and the orphans around it.
pub fn candidates<K: Cached>(index: &Owned<K>, meta: &ObjectMeta) -> Vec<Arc<K>> {
    let mut found = index.get(&Owner::Controller(meta.uid.clone().unwrap_or_default()));
    found.extend(index.get(&Owner::Nobody(meta.namespace.clone().unwrap_or_default())));
    found
}

pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// The key of the object's controller, if that is a `K`.
pub fn controller_key<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Option<Key> {
    let controller = controller_of(meta)?;
    let ours = controller.kind == K::kind(&()) && controller.api_version == K::api_version(&());
    ours.then(|| Key::new(meta.namespace.clone().unwrap_or_default(), controller.name.clone()))
}

/// A reference that makes `owner` the controller.
pub fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A label selector ready to match.
pub fn selector(selector: &LabelSelector) -> Result<Selector, Error> {
    Selector::try_from(selector.clone()).map_err(|error| Error::Invalid(format!("invalid label selector: {error}")))
}

pub fn matches(selector: &Selector, meta: &ObjectMeta) -> bool {
    static NONE: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    selector.matches(meta.labels.as_ref().unwrap_or(&NONE))
}

/// What is to happen to a controller's candidates.
#[derive(Debug)]
pub struct Claim<K> {
    pub mine: Vec<Arc<K>>,
    pub adopt: Vec<Arc<K>>,
    pub release: Vec<Arc<K>>,
}

/// An owner that is being deleted neither adopts nor releases; what is being deleted is not adopted.
pub fn claim<K: Resource>(owner: &ObjectMeta, selector: &Selector, candidates: Vec<Arc<K>>) -> Claim<K> {
    let mut claim = Claim { mine: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in candidates {
        let meta = object.meta();
        let fits = matches(selector, meta);
        match controller_of(meta) {
            Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => {}
            Some(_) if fits => claim.mine.push(object),
            Some(_) if owner.deletion_timestamp.is_none() => claim.release.push(object),
            None if fits && owner.deletion_timestamp.is_none() && meta.deletion_timestamp.is_none() => {
                claim.adopt.push(object);
            }
            Some(_) | None => {}
        }
    }
    claim
}

/// Adopts and releases; gives everything that is the owner's afterwards.
pub async fn execute<O, K>(cx: &Context, owner: &O, claim: Claim<K>) -> Result<Vec<Arc<K>>, Error>
where
    O: Cached + Serialize + Resource<Scope = NamespaceResourceScope>,
    K: Cached + Serialize + Resource<Scope = NamespaceResourceScope>,
{
    let namespace = owner.meta().namespace.clone().unwrap_or_default();
    let writer: Writer<'_, K> = cx.namespaced(&namespace);
    let mut mine = claim.mine;
    if !claim.adopt.is_empty() && still_there(cx, owner, &namespace).await? {
        let reference = reference(owner);
        let adopted = claim.adopt.iter().map(|object| {
            let mut owners = object.meta().owner_references.clone().unwrap_or_default();
            owners.push(reference.clone());
            set_owners(&writer, object.as_ref(), owners)
        });
        for outcome in join_all(adopted).await {
            mine.extend(outcome?.map(Arc::new));
        }
    }
    let uid = owner.meta().uid.as_ref();
    let released = claim.release.iter().map(|object| {
        let mut owners = object.meta().owner_references.clone().unwrap_or_default();
        owners.retain(|owner| Some(&owner.uid) != uid);
        set_owners(&writer, object.as_ref(), owners)
    });
    let errors = join_all(released).await.into_iter().filter_map(Result::err).collect();
    Error::gather(errors)?;
    Ok(mine)
}

/// Looks past the cache before adopting: an owner that was deleted meanwhile must not.
async fn still_there<O>(cx: &Context, owner: &O, namespace: &str) -> Result<bool, Error>
where
    O: Cached + Serialize + Resource<Scope = NamespaceResourceScope>,
{
    let writer: Writer<'_, O> = cx.namespaced(namespace);
    let fresh = writer.api().get_opt(owner.meta().name.as_deref().unwrap_or_default()).await?;
    Ok(fresh.is_some_and(|fresh| fresh.meta().uid == owner.meta().uid && fresh.meta().deletion_timestamp.is_none()))
}

/// `None` where the object is gone.
async fn set_owners<K>(writer: &Writer<'_, K>, object: &K, owners: Vec<OwnerReference>) -> Result<Option<K>, Error>
where
    K: Cached + Serialize,
{
    let meta = object.meta();
    // The revision makes the patch fail if anybody else changed the owners.
    let patch = json!({"metadata": {
        "ownerReferences": owners, "uid": meta.uid, "resourceVersion": meta.resource_version,
    }});
    match writer.merge(meta.name.as_deref().unwrap_or_default(), &patch).await {
        Err(error) if error.reason() == "NotFound" => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn pod(name: &str, label: &str, controller: Option<&str>, deleted: bool) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.labels = Some([("app".to_owned(), label.to_owned())].into());
        pod.metadata.deletion_timestamp = deleted.then_some(Time(Timestamp::UNIX_EPOCH));
        pod.metadata.owner_references = controller.map(|uid| {
            let controller = Some(true);
            vec![OwnerReference { uid: uid.to_owned(), controller, ..OwnerReference::default() }]
        });
        Arc::new(pod)
    }

    #[test]
    fn claims() {
        let pods = vec![
            pod("mine", "web", Some("me"), false),
            pod("mine-deleted", "web", Some("me"), true),
            pod("strayed", "db", Some("me"), false),
            pod("orphan", "web", None, false),
            pod("orphan-deleted", "web", None, true),
            pod("foreign", "web", Some("other"), false),
            pod("unrelated", "db", None, false),
        ];
        let app = selector(&LabelSelector {
            match_labels: Some([("app".to_owned(), "web".to_owned())].into()),
            match_expressions: None,
        });
        let app = app.expect("a valid selector");
        let names = |pods: &[Arc<Pod>]| pods.iter().filter_map(|p| p.metadata.name.clone()).collect::<Vec<_>>();
        let mut owner = ObjectMeta { uid: Some("me".to_owned()), ..ObjectMeta::default() };
        let alive = claim(&owner, &app, pods.clone());
        assert_eq!(names(&alive.mine), ["mine", "mine-deleted"]);
        assert_eq!(names(&alive.adopt), ["orphan"]);
        assert_eq!(names(&alive.release), ["strayed"]);
        owner.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let dying = claim(&owner, &app, pods);
        assert_eq!(names(&dying.mine), ["mine", "mine-deleted"]);
        assert!(dying.adopt.is_empty() && dying.release.is_empty());
    }
}
