//! Watches.

use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

#[tokio::test]
async fn from_nothing_it_begins_with_what_is_there() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(lines.short().await, "ADDED a");
    cluster.post(CONFIG_MAPS, config_map("b")).await.ok();
    assert_eq!(lines.short().await, "ADDED b");
    cluster.put(&format!("{CONFIG_MAPS}/a"), json!({"data": {"x": "y"}})).await.ok();
    assert_eq!(lines.short().await, "MODIFIED a");
    let before = cluster.server.pipeline().store().revision();
    cluster.delete(&format!("{CONFIG_MAPS}/b"), Value::Null).await.ok();
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    let revision: u64 = event["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    assert!(revision > before);
}

#[tokio::test]
async fn from_a_revision_it_replays() {
    let cluster = Cluster::new().await;
    let created = cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let revision = created["metadata"]["resourceVersion"].as_str().unwrap();
    cluster.post(CONFIG_MAPS, config_map("b")).await.ok();
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}")).await;
    assert_eq!(lines.short().await, "ADDED b");
}

#[tokio::test]
async fn compacted_history_is_an_error_event() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await.ok();
    }
    let store = cluster.server.pipeline().store();
    store.compact(store.revision()).await.unwrap();
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=1")).await;
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn selectors_turn_changes_into_comings_and_goings() {
    let cluster = Cluster::new().await;
    let labelled = |value: &str| json!({"metadata": {"name": "a", "labels": {"app": value}}});
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=app%3Dweb")).await;
    cluster.post(CONFIG_MAPS, labelled("db")).await.ok();
    cluster.put(&format!("{CONFIG_MAPS}/a"), labelled("web")).await.ok();
    assert_eq!(lines.short().await, "ADDED a");
    let left = cluster.put(&format!("{CONFIG_MAPS}/a"), labelled("db")).await.ok();
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["metadata"]["labels"]["app"], "web");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(lines.short().await, "ADDED a");
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test(start_paused = true)]
async fn an_idle_watch_is_told_the_revision_and_ends_in_time() {
    let cluster = Cluster::new().await;
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=90")).await;
    // Something else happens, which this watch does not see.
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.ok();
    let revision = cluster.server.pipeline().store().revision().to_string();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    let event = lines.next().await.unwrap();
    assert_eq!(event["type"], "BOOKMARK");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], revision.as_str());
    tokio::time::advance(std::time::Duration::from_secs(30)).await;
    assert!(lines.next().await.is_none());
}
