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
    cluster.put(&format!("{CONFIG_MAPS}/a"), json!({"metadata": {"name": "a"}, "data": {"x": "y"}})).await.ok();
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

/// It opens and waits, but who wants to see what is there first does not wait for ever.
#[tokio::test(start_paused = true)]
async fn from_a_future_revision_it_skips_what_comes_before() {
    let cluster = Cluster::new().await;
    let now = cluster.server.pipeline().store().revision();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", now + 2);
    let mut lines = cluster.watch(&path).await;
    for name in ["a", "b", "c"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await.ok();
    }
    assert_eq!(lines.short().await, "ADDED c");
    let far = format!("resourceVersion={}&resourceVersionMatch=NotOlderThan", now + 9);
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true&{far}")).await;
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(504)));
    assert_eq!(event["object"]["details"]["retryAfterSeconds"], 1);
    assert!(lines.next().await.is_none());
    // A reader waits for a write that is under way.
    let wanted = format!("{CONFIG_MAPS}/d?resourceVersion={}", cluster.server.pipeline().store().revision() + 1);
    let (got, made) = tokio::join!(cluster.get(&wanted), cluster.post(CONFIG_MAPS, config_map("d")));
    assert_eq!(got.ok()["metadata"]["uid"], made.ok()["metadata"]["uid"]);
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
    // Once more just before the end.
    tokio::time::advance(std::time::Duration::from_secs(27)).await;
    assert_eq!(lines.next().await.unwrap()["type"], "BOOKMARK");
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    assert!(lines.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_is_sent_bookmarks_unasked() {
    let cluster = Cluster::new().await;
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=300")).await;
    tokio::time::advance(std::time::Duration::from_secs(301)).await;
    assert!(lines.next().await.is_none());
}

#[tokio::test]
async fn the_old_paths_watch_too() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    cluster.post(CONFIG_MAPS, config_map("b")).await.ok();
    let mut lines = cluster.watch("/api/v1/watch/namespaces/default/configmaps/b").await;
    assert_eq!(lines.short().await, "ADDED b");
    let mut lines = cluster.watch("/api/v1/watch/configmaps?fieldSelector=metadata.name%3Db").await;
    assert_eq!(lines.short().await, "ADDED b");
    let reply = cluster.get("/api/v1/watch/namespaces/default/configmaps/b?fieldSelector=metadata.name%3Da").await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (400, "BadRequest: fieldSelector metadata.name doesn't match requested name")
    );
}

/// query → code, `reason: message`
#[tokio::test]
async fn what_a_watch_may_be_asked() {
    let cluster = Cluster::new().await;
    let listed = "Invalid: ListOptions.meta.k8s.io \"\" is invalid: ";
    let forbidden = "resourceVersionMatch: Forbidden: ";
    let cases = [
        (
            "sendInitialEvents=true",
            422,
            format!("{listed}{forbidden}sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        ),
        (
            "resourceVersionMatch=NotOlderThan",
            422,
            format!(
                "{listed}{forbidden}resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            ),
        ),
        (
            "sendInitialEvents=true&resourceVersionMatch=Exact",
            422,
            format!(
                "{listed}[{forbidden}sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]"
            ),
        ),
        (
            "resourceVersion=x",
            500,
            ": resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax".to_owned(),
        ),
        (
            "fieldSelector=spec.x%3Dy",
            400,
            "BadRequest: \"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                .to_owned(),
        ),
    ];
    for (query, code, said) in cases {
        let reply = cluster.get(&format!("{CONFIG_MAPS}?watch=1&{query}")).await;
        assert_eq!((reply.code, reply.said()), (code, said), "{query}");
    }
}

#[tokio::test]
async fn all_watchers_see_one_order() {
    let cluster = std::sync::Arc::new(Cluster::new().await);
    let mut watches = Vec::new();
    for _ in 0..4 {
        watches.push(cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await);
    }
    let writers = (0..40).map(|at| {
        let cluster = cluster.clone();
        tokio::spawn(async move { cluster.post(CONFIG_MAPS, config_map(&format!("c{at}"))).await.code })
    });
    for writer in writers.collect::<Vec<_>>() {
        assert_eq!(writer.await.unwrap(), 201);
    }
    let mut orders = Vec::new();
    for lines in &mut watches {
        let mut order = Vec::new();
        for _ in 0..40 {
            order.push(lines.next().await.unwrap()["object"]["metadata"]["resourceVersion"].clone());
        }
        orders.push(order);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]));
    let numbers: Vec<u64> = orders[0].iter().map(|version| version.as_str().unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted());
}

#[tokio::test]
async fn who_does_not_read_is_cut_off_with_a_reason() {
    use orch::server::http::{ApiServer, ApiServerConfig};
    use orch::store::memory::MemoryStore;
    let server = ApiServer::new(ApiServerConfig::default(), MemoryStore::with_watch_buffer(4));
    let cluster = Cluster::over(server).await;
    let mut lines = cluster.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    for at in 0..20 {
        cluster.post(CONFIG_MAPS, config_map(&format!("c{at}"))).await.ok();
    }
    let mut seen = 0;
    loop {
        let event = lines.next().await.expect("a reason before the end");
        if event["type"] == "ERROR" {
            assert_eq!((&event["object"]["code"], &event["object"]["reason"]), (&json!(410), &json!("Expired")));
            break;
        }
        seen += 1;
    }
    assert!(seen < 20);
    assert!(lines.next().await.is_none());
}
