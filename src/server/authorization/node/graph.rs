//! Which objects each node's pods use: the edges of upstream's node authorizer graph.
//!
//! A node is reached from its pods, from what those name (Secrets, ConfigMaps, claims, accounts), from
//! the volumes bound to the claims and their Secrets, and from what names the node itself.

use std::collections::{BTreeSet, HashMap};

use k8s_openapi::api::core::v1::PersistentVolume;
use serde::Deserialize;
use serde_json::Value;

use crate::api::references::{self, PodView};
use crate::server::authorization::follow;
use crate::store::Item;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    ResourceClaim,
    Pod,
    Volume,
    VolumeAttachment,
    ResourceSlice,
}

impl From<references::Kind> for Kind {
    fn from(named: references::Kind) -> Self {
        match named {
            references::Kind::ServiceAccount => Self::ServiceAccount,
            references::Kind::Secret => Self::Secret,
            references::Kind::ConfigMap => Self::ConfigMap,
            references::Kind::Claim => Self::Claim,
            references::Kind::ResourceClaim => Self::ResourceClaim,
        }
    }
}

/// An object that a node may reach; no namespace where it has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vertex {
    pub kind: Kind,
    pub namespace: Box<str>,
    pub name: Box<str>,
}

impl Vertex {
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

/// What one stored object adds: from each vertex an edge to the node.
struct Source {
    node: Box<str>,
    vertices: BTreeSet<Vertex>,
}

#[derive(Default)]
pub struct Graph {
    /// By key, what pods, attachments and slices add.
    sources: HashMap<Box<str>, Source>,
    /// How many objects lead from a vertex to a node.
    edges: HashMap<Vertex, HashMap<Box<str>, usize>>,
    /// By volume: the claim it is bound to, and the Secrets it names.
    volumes: HashMap<Box<str>, (Vertex, BTreeSet<Vertex>)>,
    /// The volumes that name a Secret.
    volumes_of: HashMap<Vertex, BTreeSet<Box<str>>>,
}

impl Graph {
    /// Whether something on the node leads to the object.
    pub fn reaches(&self, node: &str, vertex: &Vertex) -> bool {
        let direct = |vertex: &Vertex| self.edges.get(vertex).is_some_and(|nodes| nodes.contains_key(node));
        let bound = |volume: &str| self.volumes.get(volume).is_some_and(|(claim, _)| direct(claim));
        match vertex.kind {
            Kind::Volume => bound(&vertex.name),
            Kind::Secret => {
                direct(vertex) || self.volumes_of.get(vertex).is_some_and(|names| names.iter().any(|name| bound(name)))
            }
            _ => direct(vertex),
        }
    }

    fn add(&mut self, key: &str, node: &str, vertices: BTreeSet<Vertex>) {
        for vertex in &vertices {
            *self.edges.entry(vertex.clone()).or_default().entry(node.into()).or_default() += 1;
        }
        self.sources.insert(key.into(), Source { node: node.into(), vertices });
    }

    fn drop_source(&mut self, key: &str) {
        let Some(source) = self.sources.remove(key) else { return };
        for vertex in source.vertices {
            let Some(nodes) = self.edges.get_mut(&vertex) else { continue };
            if let Some(count) = nodes.get_mut(&source.node) {
                *count -= 1;
                if *count == 0 {
                    nodes.remove(&source.node);
                }
            }
            if nodes.is_empty() {
                self.edges.remove(&vertex);
            }
        }
    }

    fn put_pod(&mut self, item: &Item, namespace: &str, name: &str) -> serde_json::Result<()> {
        // Most pods that come by are not on a node yet.
        if !contains(&item.value, b"\"nodeName\":") {
            return Ok(());
        }
        let pod: PodView = serde_json::from_slice(&item.value)?;
        let Some(node) = pod.spec.node_name.as_deref().filter(|node| !node.is_empty()) else { return Ok(()) };
        let mut used = BTreeSet::from([Vertex::new(Kind::Pod, namespace, name)]);
        // A mirror pod gives nothing: the node made it, and must not gain by that.
        if !pod.is_mirror() {
            pod.visit(|kind, name| {
                used.insert(Vertex::new(kind.into(), namespace, name));
            });
        }
        self.add(&item.key, node, used);
        Ok(())
    }

    fn put_volume(&mut self, item: &Item, name: &str) -> serde_json::Result<()> {
        let volume: PersistentVolume = serde_json::from_slice(&item.value)?;
        let spec = volume.spec.unwrap_or_default();
        let Some(claim) = spec.claim_ref.as_ref() else { return Ok(()) };
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        let (namespace, claim_name) = (of(&claim.namespace), of(&claim.name));
        let claim = Vertex::new(Kind::Claim, &namespace, &claim_name);
        let secrets = volume_secrets(&serde_json::to_value(&spec)?, &namespace);
        for secret in &secrets {
            self.volumes_of.entry(secret.clone()).or_default().insert(name.into());
        }
        self.volumes.insert(name.into(), (claim, secrets));
        Ok(())
    }

    fn drop_volume(&mut self, name: &str) {
        let Some((_, secrets)) = self.volumes.remove(name) else { return };
        for secret in secrets {
            if let Some(names) = self.volumes_of.get_mut(&secret) {
                names.remove(name);
                if names.is_empty() {
                    self.volumes_of.remove(&secret);
                }
            }
        }
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// The Secrets a volume's source names (`VisitPVSecretNames`); those without a namespace are in the claim's.
fn volume_secrets(spec: &Value, claim_namespace: &str) -> BTreeSet<Vertex> {
    let mut found = BTreeSet::new();
    for (source, body) in spec.as_object().into_iter().flatten() {
        for (field, reference) in body.as_object().into_iter().flatten() {
            let text = |key: &str| reference[key].as_str().filter(|text| !text.is_empty());
            let name = match (source.as_str(), field.as_str()) {
                ("azureFile", "secretName") => reference.as_str(),
                (_, "secretRef" | "controllerPublishSecretRef" | "nodePublishSecretRef" | "nodeStageSecretRef") => {
                    text("name")
                }
                (_, "nodeExpandSecretRef" | "controllerExpandSecretRef") => text("name"),
                _ => None,
            };
            let Some(name) = name else { continue };
            let own = if field == "secretName" { body["secretNamespace"].as_str() } else { text("namespace") };
            found.insert(Vertex::new(Kind::Secret, own.unwrap_or(claim_namespace), name));
        }
    }
    found
}

/// What attachments and slices say of their node.
#[derive(Deserialize)]
struct OnNode {
    #[serde(default)]
    spec: NodeName,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeName {
    node_name: Option<String>,
}

const PODS: &str = "/registry/core/pods/";
const VOLUMES: &str = "/registry/core/persistentvolumes/";
const ATTACHMENTS: &str = "/registry/storage.k8s.io/volumeattachments/";
const SLICES: &str = "/registry/resource.k8s.io/resourceslices/";

impl follow::Index for Graph {
    const PREFIXES: &'static [&'static str] = &[PODS, VOLUMES, ATTACHMENTS, SLICES];

    fn put(&mut self, item: &Item) {
        follow::Index::remove(self, &item.key);
        let key = &*item.key;
        let on_node = |graph: &mut Self, kind, name: &str| -> serde_json::Result<()> {
            let object: OnNode = serde_json::from_slice(&item.value)?;
            if let Some(node) = object.spec.node_name.filter(|node| !node.is_empty()) {
                graph.add(key, &node, [Vertex::new(kind, "", name)].into());
            }
            Ok(())
        };
        let outcome = if let Some((namespace, name)) = key.strip_prefix(PODS).and_then(|rest| rest.split_once('/')) {
            self.put_pod(item, namespace, name)
        } else if let Some(name) = key.strip_prefix(VOLUMES) {
            self.put_volume(item, name)
        } else if let Some(name) = key.strip_prefix(ATTACHMENTS) {
            on_node(self, Kind::VolumeAttachment, name)
        } else if let Some(name) = key.strip_prefix(SLICES) {
            on_node(self, Kind::ResourceSlice, name)
        } else {
            Ok(())
        };
        if let Err(error) = outcome {
            tracing::error!(key, %error, "a stored object cannot be read: no node reaches what it names");
        }
    }

    fn remove(&mut self, key: &str) {
        match key.strip_prefix(VOLUMES) {
            Some(name) => self.drop_volume(name),
            None => self.drop_source(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::follow::Index as _;
    use super::*;

    fn put(graph: &mut Graph, key: &str, object: Value) {
        graph.put(&Item { key: key.into(), value: object.to_string().into(), revision: 1 });
    }

    fn volume(secret: Value) -> Value {
        json!({"metadata": {"name": "v"}, "spec": {
            "claimRef": {"namespace": "a", "name": "data"}, "csi": {"driver": "d", "volumeHandle": "h",
            "nodePublishSecretRef": secret},
        }})
    }

    #[test]
    fn edges_come_and_go_with_the_objects_that_make_them() {
        let mut graph = Graph::default();
        let secret = Vertex::new(Kind::Secret, "a", "s");
        let pod = |name: &str, node: &str| {
            json!({"metadata": {"name": name}, "spec": {
                "nodeName": node, "containers": [],
                "volumes": [{"name": "x", "secret": {"secretName": "s"}},
                            {"name": "y", "persistentVolumeClaim": {"claimName": "data"}}],
            }})
        };
        put(&mut graph, "/registry/core/pods/a/p1", pod("p1", "n1"));
        put(&mut graph, "/registry/core/pods/a/p2", pod("p2", "n1"));
        put(&mut graph, "/registry/core/pods/a/p3", pod("p3", "n2"));
        assert!(graph.reaches("n1", &secret) && graph.reaches("n2", &secret) && !graph.reaches("n3", &secret));
        assert!(!graph.reaches("n1", &Vertex::new(Kind::Secret, "b", "s")));
        assert!(!graph.reaches("n1", &Vertex::new(Kind::ConfigMap, "a", "s")));
        assert!(graph.reaches("n1", &Vertex::new(Kind::Pod, "a", "p1")));
        assert!(!graph.reaches("n2", &Vertex::new(Kind::Pod, "a", "p1")));
        graph.remove("/registry/core/pods/a/p1");
        assert!(graph.reaches("n1", &secret), "another pod of the node uses it");
        graph.remove("/registry/core/pods/a/p2");
        assert!(!graph.reaches("n1", &secret));

        let bound = Vertex::new(Kind::Volume, "", "v");
        let theirs = Vertex::new(Kind::Secret, "vault", "k");
        put(&mut graph, "/registry/core/persistentvolumes/v", volume(json!({"name": "k", "namespace": "vault"})));
        assert!(graph.reaches("n2", &bound) && graph.reaches("n2", &theirs) && !graph.reaches("n1", &bound));
        put(&mut graph, "/registry/core/persistentvolumes/v", volume(json!({"name": "other", "namespace": "vault"})));
        assert!(!graph.reaches("n2", &theirs));
        graph.remove("/registry/core/pods/a/p3");
        assert!(!graph.reaches("n2", &bound));
        graph.remove("/registry/core/persistentvolumes/v");
        let Graph { sources, edges, volumes, volumes_of } = graph;
        assert!(sources.is_empty() && edges.is_empty() && volumes.is_empty() && volumes_of.is_empty());
    }

    #[test]
    fn attachments_and_slices_belong_to_the_node_they_name() {
        let mut graph = Graph::default();
        put(&mut graph, "/registry/storage.k8s.io/volumeattachments/x", json!({"spec": {"nodeName": "n1"}}));
        put(&mut graph, "/registry/resource.k8s.io/resourceslices/y", json!({"spec": {"nodeName": "n1"}}));
        for (kind, name) in [(Kind::VolumeAttachment, "x"), (Kind::ResourceSlice, "y")] {
            assert!(graph.reaches("n1", &Vertex::new(kind, "", name)));
            assert!(!graph.reaches("n2", &Vertex::new(kind, "", name)));
        }
    }

    #[test]
    fn a_pod_without_a_node_leads_nowhere() {
        let mut graph = Graph::default();
        put(&mut graph, "/registry/core/pods/a/p", json!({"metadata": {}, "spec": {"containers": []}}));
        assert!(graph.sources.is_empty());
    }
}
