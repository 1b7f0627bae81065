//! Nodes: address ranges, silence, and what becomes of their pods.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use orch::reconcile::clock::Clock;
use serde_json::json;

use super::cluster::{Cluster, find, has};

async fn node(cluster: &Cluster, name: &str) {
    cluster.create(cluster.all::<Node>(), json!({"metadata": {"name": name}})).await;
    let tainted = |nodes: &[Arc<Node>]| find(nodes, name).is_some_and(|node| !taints(node).is_empty());
    cluster.eventually("a taint for a node that says nothing", tainted).await;
    set_ready(cluster, name).await;
    cluster.eventually("no taint for a node that is ready", |nodes: &[Arc<Node>]| !tainted(nodes)).await;
}

async fn set_ready(cluster: &Cluster, name: &str) {
    let now = cluster.env.clock.now();
    let status = json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now},
    ]}});
    cluster.all::<Node>().patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
}

fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut taints: Vec<_> = taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
    taints.sort();
    taints
}

fn cidr(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_gets_its_own_range() {
    let cluster = Cluster::without_kubelet(Clock::system()).await;
    for name in ["a", "b", "c"] {
        node(&cluster, name).await;
    }
    let nodes = cluster
        .eventually::<Node>("three ranges", |nodes| nodes.iter().filter(|n| cidr(n).is_some()).count() == 3)
        .await;
    let mut ranges: Vec<_> = nodes.iter().filter_map(|node| cidr(node)).collect();
    ranges.sort();
    assert_eq!(ranges, ["10.42.0.0/24", "10.42.1.0/24", "10.42.2.0/24"]);
    let free = cidr(find(&nodes, "b").unwrap()).unwrap().to_owned();
    cluster.all::<Node>().delete("b", &DeleteParams::default()).await.unwrap();
    cluster.eventually::<Node>("b gone", |nodes| !has(nodes, "b")).await;
    node(&cluster, "d").await;
    let nodes =
        cluster.eventually::<Node>("a range for d", |nodes| find(nodes, "d").is_some_and(|d| cidr(d).is_some())).await;
    assert_eq!(cidr(find(&nodes, "d").unwrap()), Some(free.as_str()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_node_is_unknown_and_its_pods_go() {
    let clock = Clock::manual(Timestamp::now());
    let cluster = Cluster::without_kubelet(clock.clone()).await;
    node(&cluster, "alive").await;
    node(&cluster, "silent").await;
    let pod = |name: &str, tolerations| {
        json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "silent", "tolerations": tolerations, "containers": [{"name": "c", "image": "i"}]},
        })
    };
    let api = kube::Api::<Pod>::namespaced(cluster.client.clone(), "default");
    let for_ever = json!([{"operator": "Exists"}]);
    cluster
        .eventually::<k8s_openapi::api::core::v1::ServiceAccount>("an account", |all| {
            all.iter().any(|a| a.namespace().as_deref() == Some("default"))
        })
        .await;
    cluster.create(api.clone(), pod("stays", for_ever)).await;
    let brief = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]);
    cluster.create(api.clone(), pod("goes", brief)).await;

    clock.advance(Duration::from_secs(41));
    set_ready(&cluster, "alive").await;
    cluster.merge(cluster.all::<Node>(), "silent", json!({"metadata": {"labels": {"seen": "again"}}})).await;
    let wanted = ["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"];
    let nodes = cluster.eventually::<Node>("taints", |nodes| taints(find(nodes, "silent").unwrap()) == wanted).await;
    assert!(taints(find(&nodes, "alive").unwrap()).is_empty());
    let conditions = find(&nodes, "silent").unwrap().status.clone().unwrap().conditions.unwrap();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.message.as_deref()),
        ("Unknown", Some("Kubelet stopped posting node status."))
    );
    cluster
        .eventually::<Pod>("the intolerant pod going", |pods| {
            find(pods, "goes").is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
                && find(pods, "stays").is_some_and(|pod| pod.metadata.deletion_timestamp.is_none())
        })
        .await;
    set_ready(&cluster, "silent").await;
    cluster.eventually::<Node>("recovery", |nodes| taints(find(nodes, "silent").unwrap()).is_empty()).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taint_that_does_not_tell_its_time_counts_from_now() {
    let cluster = Cluster::new().await;
    let pod = json!({"metadata": {"name": "lingers"}, "spec": {
        "tolerations": [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
        "containers": [{"name": "c", "image": "i"}],
    }});
    cluster.create(cluster.test::<Pod>(), pod).await;
    cluster
        .eventually::<Pod>("a node", |pods| {
            pods.iter().any(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()))
        })
        .await;
    let taint = json!({"spec": {"taints": [{"key": "own", "effect": "NoExecute"}]}});
    cluster.merge(cluster.all::<Node>(), "n1", taint).await;
    let going = |pods: &[Arc<Pod>]| pods.iter().all(|pod| pod.metadata.deletion_timestamp.is_some());
    cluster.eventually::<Pod>("the end of its term", going).await;
    cluster.stop().await;
}
