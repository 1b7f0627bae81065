//! What kinds do alike, and which do otherwise: upstream's own lists of exceptions (`test/integration/apiserver/apidefinitions`),
//! as far as they hold for v1.36. A kind that is not listed must conform; one that is listed must not.

use std::collections::BTreeSet;

use http::Method;
use orch::server::catalog::catalog;
use orch::server::strategy::Meta;
use serde_json::{Value, json};

use super::objects;
use crate::cluster::{Cluster, Reply};

const CREATED_BY_UPDATE: &[&str] = &[
    "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "endpoints",
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
    "limitranges",
    "rolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "runtimeclasses.node.k8s.io",
    "services",
];

/// Their names follow from what they hold.
const NAMES_NOT_GENERATED: &[&str] = &[
    "apiservices.apiregistration.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "ipaddresses.networking.k8s.io",
];

const WITHOUT_GENERATION: &[&str] = &[
    "apiservices.apiregistration.k8s.io",
    "certificatesigningrequests.certificates.k8s.io",
    "horizontalpodautoscalers.autoscaling",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "resourceclaims.resource.k8s.io",
    "resourcequotas",
    "servicecidrs.networking.k8s.io",
    "services",
    "volumeattachments.storage.k8s.io",
];

const METADATA_BY_STATUS: &[&str] = &[
    "certificatesigningrequests.certificates.k8s.io",
    "cronjobs.batch",
    "customresourcedefinitions.apiextensions.k8s.io",
    "daemonsets.apps",
    "horizontalpodautoscalers.autoscaling",
    "ingresses.networking.k8s.io",
    "jobs.batch",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets.policy",
    "pods",
    "replicasets.apps",
    "replicationcontrollers",
    "resourcequotas",
    "services",
    "statefulsets.apps",
];

const ORPHANED_BY_DEFAULT: &[&str] = &["jobs.batch", "replicationcontrollers"];

const NEVER_FOREGROUND: &[&str] = &["events", "events.events.k8s.io"];

const GRACEFUL: &[&str] = &["pods"];

fn resource(meta: &Meta) -> String {
    if meta.group.is_empty() { meta.plural.to_owned() } else { format!("{}.{}", meta.plural, meta.group) }
}

struct Kind<'a> {
    cluster: &'a Cluster,
    meta: &'a Meta,
    path: String,
}

impl Kind<'_> {
    async fn create(&self, object: Value) -> Reply {
        self.cluster.post(&objects::collection(self.meta), object).await
    }

    async fn made(&self) -> Value {
        self.create(objects::minimal(self.meta)).await.ok()
    }

    async fn patch(&self, path: &str, body: Value) -> Value {
        self.cluster.call(Method::PATCH, path, "application/merge-patch+json", body.to_string()).await.ok()
    }

    async fn is_created_by_update(&self) -> bool {
        let put = self.cluster.put(&self.path, objects::minimal(self.meta)).await;
        assert!(matches!(put.code, 201 | 404), "{}: {}", self.path, put.text);
        put.code == 201
    }

    async fn names_are_not_generated(&self) -> bool {
        let mut object = objects::minimal(self.meta);
        object["metadata"] = json!({"generateName": "habit-"});
        let reply = self.create(object).await;
        let name = reply.json()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        !(reply.code == 201 && name.starts_with("habit-"))
    }

    async fn has_no_generation(&self) -> Option<bool> {
        let generation = &self.made().await["metadata"]["generation"];
        assert!(generation.is_null() || generation == 1, "{generation}");
        self.meta.has_status().then_some(generation.is_null())
    }

    async fn changes_metadata_by_status(&self) -> Option<bool> {
        if !self.meta.has_status() {
            return None;
        }
        self.made().await;
        let label = json!({"metadata": {"labels": {"habit": "yes"}}});
        let patched = self.patch(&format!("{}/status", self.path), label).await;
        Some(patched["metadata"]["labels"]["habit"] == "yes")
    }

    /// What remains of an object that something holds, after a deletion with these options.
    async fn held(&self, options: Value) -> Value {
        self.made().await;
        self.patch(&self.path, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
        let reply = self.cluster.delete(&self.path, options).await;
        assert_eq!(reply.code, 200, "{}: {}", self.path, reply.text);
        self.cluster.get(&self.path).await.ok()
    }

    async fn is_orphaned_by_default(&self) -> bool {
        let left = self.held(Value::Null).await;
        let finalizers = left["metadata"]["finalizers"].as_array().unwrap().clone();
        assert!(!finalizers.contains(&json!("foregroundDeletion")), "{}", self.path);
        finalizers.contains(&json!("orphan"))
    }

    async fn is_never_foreground(&self) -> bool {
        let left = self.held(json!({"propagationPolicy": "Foreground"})).await;
        !left["metadata"]["finalizers"].as_array().unwrap().contains(&json!("foregroundDeletion"))
    }

    async fn is_graceful(&self) -> bool {
        let mut object = objects::minimal(self.meta);
        if self.meta.plural == "pods" {
            object["spec"]["nodeName"] = "far".into();
        }
        self.create(object).await.ok();
        self.cluster.delete(&self.path, json!({"gracePeriodSeconds": 30})).await.ok();
        let left = self.cluster.get(&self.path).await;
        left.code == 200 && left.json()["metadata"]["deletionGracePeriodSeconds"].as_i64().is_some_and(|left| left > 0)
    }
}

/// The kinds that do it, each asked in a cluster of its own, beside upstream's list.
async fn compare<F: Future<Output = Option<bool>>>(exceptions: &[&str], ask: impl Fn(&'static Meta, Cluster) -> F) {
    let mut found = BTreeSet::new();
    for kind in catalog().kinds().filter(|kind| objects::is_stored(kind.meta())) {
        if ask(kind.meta(), Cluster::new().await).await == Some(true) {
            found.insert(resource(kind.meta()));
        }
    }
    assert_eq!(found, exceptions.iter().map(|name| (*name).to_owned()).collect());
}

macro_rules! habit {
    ($test:ident, $exceptions:ident, $ask:ident) => {
        #[tokio::test]
        async fn $test() {
            compare($exceptions, async |meta, cluster| {
                let path = format!("{}/{}", objects::collection(meta), objects::name(meta));
                let kind = Kind { cluster: &cluster, meta, path };
                Option::from(kind.$ask().await)
            })
            .await;
        }
    };
}

habit!(few_are_created_by_an_update, CREATED_BY_UPDATE, is_created_by_update);
habit!(most_names_are_generated, NAMES_NOT_GENERATED, names_are_not_generated);
habit!(most_with_a_status_count_generations, WITHOUT_GENERATION, has_no_generation);
habit!(newer_kinds_keep_metadata_from_status, METADATA_BY_STATUS, changes_metadata_by_status);
habit!(few_are_orphaned_by_default, ORPHANED_BY_DEFAULT, is_orphaned_by_default);
habit!(events_are_never_deleted_in_the_foreground, NEVER_FOREGROUND, is_never_foreground);
habit!(pods_alone_end_gracefully, GRACEFUL, is_graceful);
