//! PUT.

use serde_json::json;

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

#[tokio::test]
async fn an_update_needs_the_newest_revision_where_it_names_one() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let old = cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let mut new = old.clone();
    new["data"]["a"] = "2".into();
    let updated = cluster.put(&path, new.clone()).await.ok();
    assert_ne!(updated["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"]);
    assert_eq!(updated["metadata"]["uid"], old["metadata"]["uid"]);
    let stale = cluster.put(&path, new.clone()).await;
    assert_eq!(
        (stale.code, stale.said().as_str()),
        (
            409,
            "Conflict: Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
        )
    );
    new["metadata"]["resourceVersion"] = json!(null);
    new["data"]["a"] = "3".into();
    assert_eq!(cluster.put(&path, new).await.ok()["data"]["a"], "3");
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_revision() {
    let cluster = Cluster::new().await;
    let old = cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let same = cluster.put(&format!("{CONFIG_MAPS}/a"), old.clone()).await.ok();
    assert_eq!(same, old);
}

#[tokio::test]
async fn what_may_not_change_does_not() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let cases = [
        (
            json!({"metadata": {"name": "b"}}),
            400,
            "BadRequest: the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            json!({"metadata": {"name": "a", "creationTimestamp": "2020-01-01T00:00:00Z"}}),
            422,
            "Invalid: ConfigMap \"a\" is invalid: metadata.creationTimestamp: Invalid value: \"2020-01-01T00:00:00Z\": field is immutable",
        ),
        (
            json!({"metadata": {"name": "a", "finalizers": ["x"]}}),
            422,
            "Invalid: ConfigMap \"a\" is invalid: metadata.finalizers: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ),
    ];
    for (object, code, said) in cases {
        let reply = cluster.put(&path, object.clone()).await;
        assert_eq!((reply.code, reply.said().as_str()), (code, said), "{object}");
    }
    let reply = cluster.put(&path, json!({"metadata": {"name": "a", "uid": "other"}})).await;
    assert_eq!(reply.code, 409);
    assert!(reply.said().contains("Precondition failed: UID in precondition: other, UID in object meta: "));
    let reply = cluster.put(&format!("{CONFIG_MAPS}/none"), config_map("none")).await;
    assert_eq!((reply.code, reply.said().as_str()), (404, "NotFound: configmaps \"none\" not found"));
}
