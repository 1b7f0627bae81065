//! What goes with what: the garbage collector and the namespace controller.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use super::cluster::{Cluster, find, has};
use super::workloads::web;

async fn with_pods(count: usize) -> Cluster {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<Deployment>(), web(i32::try_from(count).unwrap(), "one")).await;
    cluster
        .eventually::<Pod>("running pods", move |pods| {
            pods.len() == count && pods.iter().all(|pod| pod.status.as_ref().and_then(|s| s.pod_ip.as_ref()).is_some())
        })
        .await;
    cluster
}

async fn all_gone(cluster: &Cluster) {
    cluster.eventually::<Pod>("no pods", |pods| pods.is_empty()).await;
    cluster.eventually::<ReplicaSet>("no sets", |sets| sets.is_empty()).await;
    cluster.eventually::<Deployment>("no deployment", |all| all.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_in_the_background_takes_everything_below() {
    let cluster = with_pods(3).await;
    cluster.test::<Deployment>().delete("web", &DeleteParams::background()).await.unwrap();
    all_gone(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_in_the_foreground_goes_bottom_up() {
    let cluster = with_pods(3).await;
    let held = cluster.eventually::<Pod>("pods", |pods| pods.len() == 3).await;
    let held = held[0].name_any();
    cluster.merge(cluster.test::<Pod>(), &held, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    cluster.test::<Deployment>().delete("web", &DeleteParams::foreground()).await.unwrap();
    cluster.eventually::<Pod>("only the held pod", |pods| pods.len() == 1).await;
    let sets = cluster.test::<ReplicaSet>().list(&Default::default()).await.unwrap();
    assert_eq!(sets.items.len(), 1, "the set waits for its pod");
    assert!(cluster.test::<Deployment>().get_opt("web").await.unwrap().is_some(), "the deployment waits for its set");
    cluster.merge(cluster.test::<Pod>(), &held, json!({"metadata": {"finalizers": null}})).await;
    all_gone(&cluster).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphaning_leaves_what_is_below() {
    let cluster = with_pods(2).await;
    cluster.test::<Deployment>().delete("web", &DeleteParams::orphan()).await.unwrap();
    cluster.eventually::<Deployment>("no deployment", |all| all.is_empty()).await;
    let sets = cluster
        .eventually::<ReplicaSet>("an orphan", |sets| sets.iter().all(|s| s.owner_references().is_empty()))
        .await;
    assert_eq!(sets.len(), 1);
    assert_eq!(cluster.test::<Pod>().list(&Default::default()).await.unwrap().items.len(), 2);
    // A deployment of the same selector takes it over.
    cluster.create(cluster.test::<Deployment>(), web(2, "one")).await;
    let adopted = cluster.eventually::<ReplicaSet>("an adopted set", |s| !s[0].owner_references().is_empty()).await;
    assert_eq!(adopted[0].uid(), sets[0].uid());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_of_several_goes_when_the_last_one_goes() {
    let cluster = Cluster::new().await;
    let map = |name: &str| json!({"metadata": {"name": name}});
    let a = cluster.create(cluster.test::<ConfigMap>(), map("a")).await;
    let b = cluster.create(cluster.test::<ConfigMap>(), map("b")).await;
    let owner =
        |of: &ConfigMap| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": of.name_any(), "uid": of.uid()});
    let child = json!({"metadata": {"name": "child", "ownerReferences": [owner(&a), owner(&b)]}});
    cluster.create(cluster.test::<ConfigMap>(), child).await;
    cluster.test::<ConfigMap>().delete("a", &DeleteParams::default()).await.unwrap();
    cluster
        .eventually::<ConfigMap>("one owner left", |maps| {
            find(maps, "child").is_some_and(|c| c.owner_references().len() == 1)
        })
        .await;
    cluster.test::<ConfigMap>().delete("b", &DeleteParams::default()).await.unwrap();
    cluster.eventually::<ConfigMap>("no child", |maps| !has(maps, "child") && !has(maps, "b")).await;
    let lost = json!({"metadata": {"name": "lost", "ownerReferences": [owner(&a)]}});
    cluster.create(cluster.test::<ConfigMap>(), lost).await;
    cluster.eventually::<ConfigMap>("born an orphan and gone", |maps| !has(maps, "lost")).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_its_contents() {
    let cluster = with_pods(2).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    cluster.create(cluster.test::<ConfigMap>(), held).await;
    cluster.all::<Namespace>().delete("test", &DeleteParams::default()).await.unwrap();
    let namespaces = cluster
        .eventually::<Namespace>("what is left is told", |all| {
            let conditions = find(all, "test").and_then(|n| n.status.clone()).and_then(|status| status.conditions);
            conditions.iter().flatten().any(|c| c.type_ == "NamespaceFinalizersRemaining" && c.status == "True")
        })
        .await;
    let conditions = find(&namespaces, "test").unwrap().status.clone().unwrap().conditions.unwrap();
    let remaining = conditions.iter().find(|c| c.type_ == "NamespaceContentRemaining").unwrap();
    assert_eq!(
        remaining.message.as_deref(),
        Some("Some resources are remaining: configmaps. has 1 resource instances")
    );
    all_gone(&cluster).await;
    cluster.merge(cluster.test::<ConfigMap>(), "held", json!({"metadata": {"finalizers": null}})).await;
    cluster.eventually::<Namespace>("no namespace", |all| !has(all, "test")).await;
    cluster.stop().await;
}
