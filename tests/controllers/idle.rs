//! A cluster that is started again over what it left behind has nothing to write.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolumeClaim, ResourceQuota, Secret, Service, ServiceAccount,
};
use kube::Api;
use orch::reconcile::clock::Clock;
use orch::server::authorization::policy;
use orch::store::Store;
use orch::store::memory::MemoryStore;
use serde_json::json;

use super::cluster::Cluster;

/// Time goes on by itself, and only while nobody has anything to do.
async fn idle() {
    let _ = tokio::time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await;
}

async fn started(store: &Arc<MemoryStore>) -> Cluster {
    let cluster = Cluster::over(store.clone(), Clock::system()).await;
    policy::ensure(cluster.server.pipeline()).await.unwrap();
    idle().await;
    cluster
}

/// Something for every controller that does not need a node.
async fn fill(cluster: &Cluster) {
    cluster.create(cluster.all::<Namespace>(), json!({"metadata": {"name": "test"}})).await;
    cluster.create(Api::<Node>::all(cluster.client.clone()), json!({"metadata": {"name": "n1"}})).await;
    idle().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    cluster.create(cluster.test::<Deployment>(), json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let spec = json!({"selector": {"a": "b"}, "ports": [{"port": 80}]});
    cluster.create(cluster.test::<Service>(), json!({"metadata": {"name": "s"}, "spec": spec})).await;
    let hard = json!({"pods": "5", "count/configmaps": "5"});
    cluster.create(cluster.test::<ResourceQuota>(), json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    cluster.create(cluster.test::<ServiceAccount>(), json!({"metadata": {"name": "robot"}})).await;
    let metadata = json!({"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}});
    let secret = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
    cluster.create(cluster.test::<Secret>(), secret).await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    cluster.create(cluster.test::<PersistentVolumeClaim>(), json!({"metadata": {"name": "c"}, "spec": spec})).await;
    idle().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_start_over_the_same_data_writes_nothing() {
    let store = MemoryStore::new();
    let first = started(&store).await;
    fill(&first).await;
    first.stop().await;
    let revision = store.revision();
    let mut written = store.watch("/registry/", revision).await.unwrap();
    let second = started(&store).await;
    second.stop().await;
    let mut keys = Vec::new();
    while let Ok(event) = written.events.try_recv() {
        keys.push(event.unwrap().item.key.to_string());
    }
    assert_eq!(store.revision(), revision, "{keys:#?}");
}
