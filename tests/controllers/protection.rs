//! Storage objects in use stay until nobody uses them.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use super::cluster::{Cluster, find, has};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_stays_while_a_pod_runs_with_it() {
    let cluster = Cluster::new().await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}});
    cluster.create(cluster.test::<PersistentVolumeClaim>(), claim).await;
    let pod = json!({"metadata": {"name": "user"}, "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}});
    cluster.create(cluster.test::<Pod>(), pod).await;
    cluster
        .eventually::<Pod>("a pod with a node", |pods| {
            find(pods, "user").is_some_and(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
        })
        .await;
    cluster.test::<PersistentVolumeClaim>().delete("data", &DeleteParams::default()).await.unwrap();
    let held = cluster
        .eventually::<PersistentVolumeClaim>("a claim being deleted", |all| {
            find(all, "data").is_some_and(|claim| claim.metadata.deletion_timestamp.is_some())
        })
        .await;
    assert_eq!(find(&held, "data").unwrap().finalizers(), ["kubernetes.io/pvc-protection"]);
    cluster.test::<Pod>().delete("user", &DeleteParams::default()).await.unwrap();
    cluster.eventually::<PersistentVolumeClaim>("no claim", |all| !has(all, "data")).await;
    cluster.stop().await;
}
