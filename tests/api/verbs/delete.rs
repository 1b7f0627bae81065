//! DELETE.

use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

#[tokio::test]
async fn without_finalizers_it_is_gone_at_once() {
    let cluster = Cluster::new().await;
    let uid = cluster.post(CONFIG_MAPS, config_map("a")).await.ok()["metadata"]["uid"].clone();
    let path = format!("{CONFIG_MAPS}/a");
    let status = cluster.delete(&path, Value::Null).await.ok();
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps", "uid": uid}));
    assert_eq!(cluster.delete(&path, Value::Null).await.code, 404);
}

#[tokio::test]
async fn the_last_finalizer_to_go_takes_the_object_along() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    cluster.post(CONFIG_MAPS, object).await.ok();
    let marked = cluster.delete(&path, Value::Null).await.ok();
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let mut more = marked.clone();
    more["metadata"]["finalizers"] = json!(["example.com/wait", "example.com/more"]);
    assert_eq!(cluster.put(&path, more).await.code, 422);
    let mut free = marked;
    free["metadata"]["finalizers"] = json!([]);
    cluster.put(&path, free).await.ok();
    assert_eq!(cluster.get(&path).await.code, 404);
}

#[tokio::test]
async fn preconditions_and_policies() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let other = cluster.delete(&path, json!({"preconditions": {"uid": "x"}})).await;
    assert_eq!(other.code, 409);
    let wrong = cluster.delete(&path, json!({"propagationPolicy": "Sideways"})).await;
    assert_eq!(wrong.code, 422);
    let orphaned = cluster.delete(&path, json!({"propagationPolicy": "Orphan"})).await.ok();
    assert_eq!(orphaned["metadata"]["finalizers"], json!(["orphan"]));
    let background = cluster.delete(&path, json!({"propagationPolicy": "Background"})).await.ok();
    assert_eq!(background["status"], "Success");
}

#[tokio::test]
async fn a_namespace_waits_for_its_content() {
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    let gone = cluster.delete("/api/v1/namespaces/n", Value::Null).await.ok();
    assert_eq!(gone["status"]["phase"], "Terminating");
    let reply = cluster.post("/api/v1/namespaces/n/configmaps", config_map("a")).await;
    assert_eq!(reply.code, 403);
    assert_eq!(reply.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    assert_eq!(
        cluster.delete("/api/v1/namespaces/default", Value::Null).await.said(),
        "Forbidden: namespaces \"default\" is forbidden: this namespace may not be deleted"
    );
}
