//! GET of collections.

use serde_json::Value;

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

fn names(list: &Value) -> String {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect::<Vec<_>>().join(",")
}

async fn five() -> Cluster {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] =
            serde_json::json!({"odd": (name == "a" || name == "c" || name == "e").to_string()});
        cluster.post(CONFIG_MAPS, object).await.ok();
    }
    cluster
}

#[tokio::test]
async fn the_revision_of_a_list_is_the_stores() {
    let cluster = Cluster::new().await;
    let empty = cluster.get("/api/v1/secrets").await.ok();
    assert_eq!(empty["kind"], "SecretList");
    assert_eq!(empty["items"], serde_json::json!([]));
    let revision = cluster.server.pipeline().store().revision().to_string();
    assert_eq!(empty["metadata"]["resourceVersion"], revision.as_str());
}

#[tokio::test]
async fn pages_show_one_revision() {
    let cluster = five().await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), "a,b");
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    cluster.delete(&format!("{CONFIG_MAPS}/c"), Value::Null).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), "c,d");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&third), "e");
    assert_eq!(third["metadata"].get("continue"), None);
}

#[tokio::test]
async fn selectors() {
    let cluster = five().await;
    let cases = [
        ("labelSelector=odd%3Dtrue", "a,c,e"),
        ("labelSelector=odd%20notin%20(true)", "b,d"),
        ("fieldSelector=metadata.name%3Db", "b"),
        ("fieldSelector=metadata.name!%3Db&labelSelector=odd%3Dfalse", "d"),
        ("labelSelector=odd%3Dtrue&limit=2", "a,c"),
    ];
    for (query, expected) in cases {
        let list = cluster.get(&format!("{CONFIG_MAPS}?{query}")).await.ok();
        assert_eq!(names(&list), expected, "{query}");
    }
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?fieldSelector=spec.x%3Db")).await.code, 400);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?labelSelector=a%3D%3D%3Db")).await.code, 400);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?continue=xx")).await.code, 400);
}

#[tokio::test]
async fn old_and_future_revisions() {
    let cluster = five().await;
    let now = cluster.server.pipeline().store().revision();
    let past = now - 2;
    let list = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={past}&resourceVersionMatch=Exact")).await.ok();
    assert_eq!(names(&list), "a,b,c");
    let list =
        cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={past}&resourceVersionMatch=NotOlderThan")).await.ok();
    assert_eq!(names(&list), "a,b,c,d,e");
    let future = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={}", now + 9)).await;
    assert_eq!(future.code, 504);
    assert_eq!(future.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    cluster.server.pipeline().store().compact(now).await.unwrap();
    let gone = cluster.get(&format!("{CONFIG_MAPS}?resourceVersion={past}&resourceVersionMatch=Exact")).await;
    assert_eq!((gone.code, gone.json()["reason"].as_str()), (410, Some("Expired")));
}

#[tokio::test]
async fn tables_and_metadata() {
    let cluster = five().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let list = cluster.get_as(CONFIG_MAPS, table).await.ok();
    assert_eq!(list["kind"], "Table");
    assert_eq!(list["columnDefinitions"][1]["name"], "Data");
    assert_eq!(list["rows"][0]["cells"][0], "a");
    assert_eq!(list["rows"][0]["cells"][1], 1);
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let list = cluster.get_as(CONFIG_MAPS, partial).await.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0].get("data"), None);
    assert_eq!(cluster.get_as(CONFIG_MAPS, "image/png").await.code, 406);
}
