//! What quotas say is used, and that nothing goes beyond them while objects come and go.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, ResourceQuota};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::cluster::{Cluster, find};

/// Waits until the quota `q` says this.
async fn used(cluster: &Cluster, name: &'static str, wanted: &str) {
    let wanted = wanted.to_owned();
    cluster
        .eventually::<ResourceQuota>(&format!("{name}={wanted}"), move |all| {
            let quota = find(all, "q");
            let used = quota.and_then(|quota| quota.status.clone()).and_then(|status| status.used).unwrap_or_default();
            used.get(name).is_some_and(|amount| amount.0 == wanted)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_counts_what_is_there_what_comes_and_what_goes() {
    let cluster = Cluster::new().await;
    cluster.create(cluster.test::<ConfigMap>(), json!({"metadata": {"name": "before"}})).await;
    let hard = json!({"pods": "2", "count/configmaps": "10", "count/replicasets.apps": "1"});
    cluster.create(cluster.test::<ResourceQuota>(), json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await;
    // Its own, and the certificate of every namespace.
    used(&cluster, "count/configmaps", "2").await;
    used(&cluster, "pods", "0").await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 5, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    cluster.create(cluster.test::<ReplicaSet>(), json!({"metadata": {"name": "r"}, "spec": spec})).await;
    used(&cluster, "pods", "2").await;
    used(&cluster, "count/replicasets.apps", "1").await;
    let pods = cluster.eventually::<Pod>("two pods", |pods| pods.len() == 2).await;
    // One goes, and another one comes in its place.
    let gone = pods[0].name_any();
    cluster.test::<Pod>().delete(&gone, &DeleteParams::default().grace_period(0)).await.unwrap();
    cluster
        .eventually::<Pod>("another pod", |pods| pods.len() == 2 && pods.iter().all(|pod| pod.name_any() != gone))
        .await;
    cluster.test::<ReplicaSet>().delete("r", &DeleteParams::background()).await.unwrap();
    used(&cluster, "pods", "0").await;
    used(&cluster, "count/replicasets.apps", "0").await;
    cluster.test::<ConfigMap>().delete("before", &DeleteParams::default()).await.unwrap();
    used(&cluster, "count/configmaps", "1").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_resize_gives_back_is_given_back_when_the_node_says_so() {
    let cluster = Cluster::new().await;
    // Where the pod is bound already, its node must be able to hold it.
    let room = Patch::Merge(json!({"status": {"allocatable": {"cpu": "8", "memory": "8Gi"}}}));
    cluster.all::<Node>().patch_status("n1", &PatchParams::default(), &room).await.unwrap();
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "2"}}});
    cluster.create(cluster.test::<ResourceQuota>(), quota).await;
    used(&cluster, "requests.cpu", "0").await;
    let container = |cpu: &str| json!([{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]);
    let pods = cluster.test::<Pod>();
    cluster.create(pods.clone(), json!({"metadata": {"name": "p"}, "spec": {"containers": container("1")}})).await;
    let runs_with = async |cpu: &str| {
        let status = json!([{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "resources": {"requests": {"cpu": cpu}}, "allocatedResources": {"cpu": cpu}}]);
        let patch = Patch::Merge(json!({"status": {"containerStatuses": status}}));
        pods.patch_status("p", &PatchParams::default(), &patch).await.unwrap();
    };
    runs_with("1").await;
    let less = Patch::Strategic(json!({"spec": {"containers": container("500m")}}));
    pods.patch_subresource("resize", "p", &PatchParams::default(), &less).await.unwrap();
    used(&cluster, "requests.cpu", "1").await;
    runs_with("500m").await;
    used(&cluster, "requests.cpu", "500m").await;
    cluster.stop().await;
}
