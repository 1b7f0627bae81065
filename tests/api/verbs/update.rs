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
            json!({"metadata": {}}),
            400,
            "BadRequest: the name of the object (a based on URL) was undeterminable: name must be provided",
        ),
        (
            json!({"metadata": {"name": "a", "namespace": "b"}}),
            400,
            "BadRequest: the namespace of the object (b) does not match the namespace on the request (default)",
        ),
        (
            json!({"metadata": {"name": "a", "resourceVersion": "x"}}),
            500,
            ": strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            json!({"metadata": {"name": "a", "deletionTimestamp": "2020-01-01T00:00:00Z"}}),
            422,
            "Invalid: ConfigMap \"a\" is invalid: metadata.deletionTimestamp: Invalid value: \"2020-01-01T00:00:00Z\": field is immutable",
        ),
        (
            json!({"metadata": {"name": "a", "finalizers": ["x"]}}),
            422,
            "Invalid: ConfigMap \"a\" is invalid: metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ),
    ];
    for (object, code, said) in cases {
        let reply = cluster.put(&path, object.clone()).await;
        assert_eq!((reply.code, reply.said().as_str()), (code, said), "{object}");
    }
    let found = cluster.get(&path).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned();
    let reply = cluster.put(&path, json!({"metadata": {"name": "a", "uid": "other"}})).await;
    let said = format!(
        "Conflict: Operation cannot be fulfilled on configmaps \"a\": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, UID in object meta: {found}"
    );
    assert_eq!((reply.code, reply.said()), (409, said));
    let reply = cluster.put(&format!("{CONFIG_MAPS}/none"), config_map("none")).await;
    assert_eq!((reply.code, reply.said().as_str()), (404, "NotFound: configmaps \"none\" not found"));
}

#[tokio::test]
async fn what_the_system_wrote_is_kept_whatever_comes() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let old = cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let mut new = config_map("a");
    new["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z".into();
    new["metadata"]["generation"] = 7.into();
    new["metadata"]["selfLink"] = "/x".into();
    assert_eq!(cluster.put(&path, new).await.ok(), old);
}

#[tokio::test]
async fn some_kinds_are_created_by_an_update_and_some_insist_on_a_revision() {
    let cluster = Cluster::new().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l", "resourceVersion": "7"}, "spec": {}});
    let created = cluster.put(&format!("{leases}/l"), lease.clone()).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let open = cluster.put(&format!("{leases}/l"), json!({"metadata": {"name": "l"}})).await;
    assert_eq!(
        (open.code, open.said().as_str()),
        (
            422,
            "Invalid: leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        )
    );
    let mut other = lease;
    other["metadata"] = json!({"name": "m", "uid": "u"});
    assert_eq!(cluster.put(&format!("{leases}/m"), other).await.code, 409);
}

#[tokio::test]
async fn an_object_on_its_way_out_is_still_changed_but_not_held() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    cluster.post(CONFIG_MAPS, object).await.ok();
    let mut going = cluster.delete(&path, serde_json::Value::Null).await.ok();
    let again = cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(again.said(), "AlreadyExists: object is being deleted: configmaps \"a\" already exists");
    going["data"]["a"] = "2".into();
    going["metadata"]["finalizers"] = json!(["example.com/two"]);
    going["metadata"]["deletionTimestamp"] = json!(null);
    going["metadata"]["deletionGracePeriodSeconds"] = json!(null);
    let mut going = cluster.put(&path, going).await.ok();
    assert!(going["metadata"]["deletionTimestamp"].is_string());
    going["metadata"]["finalizers"] = json!([]);
    let last = cluster.put(&path, going).await.ok();
    assert_eq!((&last["kind"], &last["data"]["a"]), (&json!("ConfigMap"), &json!("2")));
    assert_eq!(cluster.get(&path).await.code, 404);
}

/// Each writer adds a field of its own to what it last saw, and tries again when somebody was faster.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_writers_lose_nothing() {
    let cluster = std::sync::Arc::new(Cluster::new().await);
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let writers = (0..64).map(|at| {
        let (cluster, path) = (cluster.clone(), path.clone());
        tokio::spawn(async move {
            if at % 2 == 0 {
                let body = json!({"data": {format!("k{at}"): "v"}}).to_string();
                let reply = cluster.call(http::Method::PATCH, &path, "application/merge-patch+json", body).await;
                assert_eq!(reply.code, 200, "{}", reply.text);
                return;
            }
            loop {
                let mut object = cluster.get(&path).await.ok();
                object["data"][format!("k{at}")] = "v".into();
                match cluster.put(&path, object).await {
                    reply if reply.code == 409 => {}
                    reply => return drop(reply.ok()),
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let object = cluster.get(&path).await.ok();
    assert_eq!(object["data"].as_object().unwrap().len(), 65);
}
