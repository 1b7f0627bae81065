//! Who owns whom, as the metadata watches tell. Pure, and as small as it can be: nothing of an object is
//! kept but its name, its owners and how it is being deleted.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::server::controllers::catalog::Resource;

pub type Uid = Arc<str>;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: Uid,
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    /// The owner waits for this object when it is deleted in the foreground.
    pub blocks: bool,
}

/// How an object is being deleted, if it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    No,
    /// It goes as soon as its other finalizers are done.
    Plain,
    /// It waits for its dependents to go first.
    Foreground,
    /// Its dependents are to lose it as an owner, and stay.
    Orphan,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub resource: Arc<Resource>,
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub owners: Box<[Owner]>,
    pub deletion: Deletion,
}

impl Node {
    pub fn new(resource: Arc<Resource>, meta: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        Self {
            resource,
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            owners: owners(meta).into(),
            deletion: deletion(meta),
        }
    }

    pub fn owner(&self, uid: &Uid) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.uid == *uid)
    }
}

pub fn owners(meta: &ObjectMeta) -> Vec<Owner> {
    let references = meta.owner_references.iter().flatten();
    let owners = references.map(|reference| Owner {
        uid: reference.uid.as_str().into(),
        api_version: reference.api_version.as_str().into(),
        kind: reference.kind.as_str().into(),
        name: reference.name.as_str().into(),
        blocks: reference.block_owner_deletion == Some(true),
    });
    owners.collect()
}

pub fn deletion(meta: &ObjectMeta) -> Deletion {
    let has = |finalizer: &str| meta.finalizers.iter().flatten().any(|other| other == finalizer);
    match meta.deletion_timestamp {
        None => Deletion::No,
        Some(_) if has(ORPHAN) => Deletion::Orphan,
        Some(_) if has(FOREGROUND) => Deletion::Foreground,
        Some(_) => Deletion::Plain,
    }
}

#[derive(Default)]
pub struct Graph {
    nodes: HashMap<Uid, Node>,
    dependents: HashMap<Uid, HashSet<Uid>>,
}

impl Graph {
    pub fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    pub fn dependents(&self, uid: &Uid) -> impl Iterator<Item = (&Uid, &Node)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get_key_value(uid))
    }

    /// Takes in an object's present state; gives the objects to look at because of it.
    pub fn observe(&mut self, uid: Uid, node: Node) -> Vec<Uid> {
        let before = self.unlink(&uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        let mut concerned = Vec::new();
        let changed =
            before.as_ref().is_none_or(|before| before.owners != node.owners || before.deletion != node.deletion);
        if changed && (node.deletion != Deletion::No || !self.is_settled(&node)) {
            concerned.push(uid.clone());
        }
        // An owner that waits for this one may wait no longer.
        let dropped =
            before.iter().flat_map(|before| &before.owners).filter(|owner| node.owner(&owner.uid) != Some(owner));
        concerned.extend(self.waiting(dropped));
        self.nodes.insert(uid, node);
        concerned
    }

    /// The object is gone; gives those that are concerned: its dependents, and owners that waited for it.
    pub fn forget(&mut self, uid: &Uid) -> Vec<Uid> {
        let Some(node) = self.unlink(uid) else { return Vec::new() };
        let mut concerned: Vec<_> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        concerned.extend(self.waiting(node.owners.iter()));
        concerned
    }

    /// Whether all owners are there, and none waits for the object to go.
    pub fn is_settled(&self, node: &Node) -> bool {
        node.owners
            .iter()
            .all(|owner| self.nodes.get(&owner.uid).is_some_and(|found| found.deletion != Deletion::Foreground))
    }

    /// Every object of a resource, for comparison with a new list.
    pub fn of_resource(&self, resource: &Arc<Resource>) -> HashSet<Uid> {
        let ours = self.nodes.iter().filter(|(_, node)| Arc::ptr_eq(&node.resource, resource));
        ours.map(|(uid, _)| uid.clone()).collect()
    }

    fn unlink(&mut self, uid: &Uid) -> Option<Node> {
        let node = self.nodes.remove(uid)?;
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        Some(node)
    }

    fn waiting<'a>(&self, owners: impl Iterator<Item = &'a Owner>) -> Vec<Uid> {
        let waits =
            |owner: &&Owner| self.nodes.get(&owner.uid).is_some_and(|node| node.deletion == Deletion::Foreground);
        owners.filter(waits).map(|owner| owner.uid.clone()).collect()
    }
}

/// What an object's owner is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    Solid,
    /// It is not there.
    Dangling,
    /// It is being deleted in the foreground.
    Waiting,
}

/// What is to be done with an object that is not being deleted.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// It loses these owners and stays because of others.
    Disown(Vec<Uid>),
    /// Nobody owns it any more.
    Delete {
        in_foreground: bool,
    },
}

pub fn verdict(owners: &[(Uid, OwnerState)], has_dependents: bool) -> Verdict {
    let any = |wanted| owners.iter().any(|(_, state)| *state == wanted);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if any(OwnerState::Solid) {
        let lost = owners.iter().filter(|(_, state)| *state != OwnerState::Solid);
        let lost: Vec<_> = lost.map(|(uid, _)| uid.clone()).collect();
        return if lost.is_empty() { Verdict::Keep } else { Verdict::Disown(lost) };
    }
    // An owner that waits wants everything below to be gone before.
    Verdict::Delete { in_foreground: any(OwnerState::Waiting) && has_dependents }
}

#[cfg(test)]
mod tests {
    use kube::core::ApiResource;

    use super::*;

    fn resource() -> Arc<Resource> {
        let api = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
        Arc::new(Resource { api, namespaced: true, collectable: true, deletes_collections: true })
    }

    fn node(resource: &Arc<Resource>, owners: &[&str], deletion: Deletion) -> Node {
        let owners = owners.iter().map(|uid| Owner {
            uid: (*uid).into(),
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: "x".into(),
            blocks: true,
        });
        let owners = owners.collect();
        Node { resource: resource.clone(), namespace: "ns".into(), name: "x".into(), owners, deletion }
    }

    fn uids(mut found: Vec<Uid>) -> Vec<String> {
        found.sort();
        found.iter().map(|uid| uid.to_string()).collect()
    }

    #[test]
    fn changes_concern_the_right_ones() {
        let (r, mut graph) = (resource(), Graph::default());
        assert!(graph.observe("owner".into(), node(&r, &[], Deletion::No)).is_empty());
        assert!(graph.observe("child".into(), node(&r, &["owner"], Deletion::No)).is_empty(), "all is well");
        assert_eq!(uids(graph.observe("stray".into(), node(&r, &["nobody"], Deletion::No))), ["stray"]);
        assert_eq!(uids(graph.observe("owner".into(), node(&r, &[], Deletion::Foreground))), ["owner"]);
        assert!(graph.observe("owner".into(), node(&r, &[], Deletion::Foreground)).is_empty(), "known already");
        assert_eq!(uids(graph.forget(&"child".into())), ["owner"], "the owner waited for it");
        graph.observe("child".into(), node(&r, &["owner"], Deletion::No));
        assert_eq!(uids(graph.observe("child".into(), node(&r, &[], Deletion::No))), ["owner"], "disowned");
        graph.observe("child".into(), node(&r, &["owner"], Deletion::No));
        assert_eq!(uids(graph.forget(&"owner".into())), ["child"]);
        assert!(graph.forget(&"owner".into()).is_empty());
    }

    #[test]
    fn verdicts() {
        use OwnerState::{Dangling, Solid, Waiting};
        let named =
            |states: &[OwnerState]| states.iter().zip(["a", "b"]).map(|(s, n)| (Uid::from(n), *s)).collect::<Vec<_>>();
        let delete = |in_foreground| Verdict::Delete { in_foreground };
        let cases: [(&[OwnerState], bool, Verdict); 8] = [
            (&[], true, Verdict::Keep),
            (&[Solid], true, Verdict::Keep),
            (&[Solid, Dangling], true, Verdict::Disown(vec!["b".into()])),
            (&[Waiting, Solid], true, Verdict::Disown(vec!["a".into()])),
            (&[Dangling], true, delete(false)),
            (&[Waiting], true, delete(true)),
            (&[Waiting], false, delete(false)),
            (&[Waiting, Dangling], true, delete(true)),
        ];
        for (states, has_dependents, expected) in cases {
            assert_eq!(verdict(&named(states), has_dependents), expected, "{states:?}");
        }
    }
}
