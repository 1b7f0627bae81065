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

/// The table of the API concepts page: resourceVersion × resourceVersionMatch × limit → what is seen.
#[tokio::test(start_paused = true)]
async fn revisions_and_matches_in_every_combination() {
    let cluster = five().await;
    let now = cluster.server.pipeline().store().revision();
    let past = now - 2;
    let (invalid, forbidden) =
        ("Invalid: ListOptions.meta.k8s.io \"\" is invalid: ", "resourceVersionMatch: Forbidden: ");
    let unset = format!("422 {invalid}{forbidden}resourceVersionMatch is forbidden unless resourceVersion is provided");
    let zero = format!("422 {invalid}{forbidden}resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    let unknown = format!(
        "422 {invalid}resourceVersionMatch: Unsupported value: \"Sometimes\": supported values: \"\", \"Exact\", \"NotOlderThan\""
    );
    let future = now + 9;
    let large = format!("504 Timeout: Timeout: Too large resource version: {future}, current: {now}");
    let initial = format!("422 {invalid}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
    let bad = "400 BadRequest: invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax";
    let cases: &[(&str, &str)] = &[
        ("", "a,b,c,d,e"),
        ("resourceVersion=0", "a,b,c,d,e"),
        ("resourceVersion={past}", "a,b,c,d,e"),
        ("resourceVersion={past}&resourceVersionMatch=NotOlderThan", "a,b,c,d,e"),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan", "a,b,c,d,e"),
        ("resourceVersion={past}&resourceVersionMatch=Exact", "a,b,c"),
        ("limit=2", "a,b"),
        ("limit=2&resourceVersion={past}", "a,b"),
        ("limit=4&resourceVersion={past}", "a,b,c"),
        ("limit=4&resourceVersion={past}&resourceVersionMatch=NotOlderThan", "a,b,c,d"),
        ("limit=4&resourceVersion={past}&resourceVersionMatch=Exact", "a,b,c"),
        ("resourceVersionMatch=Exact", &unset),
        ("resourceVersionMatch=NotOlderThan", &unset),
        ("resourceVersion=0&resourceVersionMatch=Exact", &zero),
        ("resourceVersion=1&resourceVersionMatch=Sometimes", &unknown),
        ("resourceVersion={future}", &large),
        ("resourceVersion={future}&resourceVersionMatch=Exact", &large),
        ("sendInitialEvents=true", &initial),
        ("resourceVersion=x", bad),
    ];
    for (query, wanted) in cases {
        let query = query.replace("{past}", &past.to_string()).replace("{future}", &future.to_string());
        let reply = cluster.get(&format!("{CONFIG_MAPS}?{query}")).await;
        let seen = if reply.code == 200 { names(&reply.json()) } else { format!("{} {}", reply.code, reply.said()) };
        assert_eq!(seen, *wanted, "{query}");
    }
}

#[tokio::test]
async fn a_token_of_forgotten_history_brings_another() {
    let cluster = five().await;
    let first = cluster.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let with_version = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}&resourceVersion=1")).await;
    assert_eq!(
        (with_version.code, with_version.said().as_str()),
        (400, "BadRequest: specifying resource version is not allowed when using continue")
    );
    let with_match = cluster
        .get(&format!("{CONFIG_MAPS}?continue={token}&resourceVersion=0&resourceVersionMatch=NotOlderThan"))
        .await;
    assert_eq!(
        with_match.said(),
        "Invalid: ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided"
    );
    let forged = cluster.get(&format!("{CONFIG_MAPS}?continue=a!")).await;
    assert_eq!(
        (forged.code, forged.said().as_str()),
        (400, "BadRequest: invalid continue token: continue key is not valid: illegal base64 data at input byte 1")
    );
    cluster.delete(&format!("{CONFIG_MAPS}/c"), Value::Null).await.ok();
    let store = cluster.server.pipeline().store();
    store.compact(store.revision()).await.unwrap();
    let expired = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    assert_eq!((expired.code, expired.json()["reason"].as_str()), (410, Some("Expired")));
    assert!(
        expired
            .said()
            .starts_with("Expired: The provided continue parameter is too old to display a consistent list result.")
    );
    let token = expired.json()["metadata"]["continue"].as_str().unwrap().to_owned();
    let rest = cluster.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&rest), "d,e");
}

#[tokio::test]
async fn how_many_remain_is_told_only_where_it_is_known() {
    let cluster = five().await;
    let page = async |query: &str| cluster.get(&format!("{CONFIG_MAPS}?{query}")).await.ok()["metadata"].clone();
    assert_eq!(page("limit=3").await["remainingItemCount"], 2);
    let selected = page("limit=1&labelSelector=odd%3Dtrue").await;
    assert!(selected["continue"].is_string() && selected.get("remainingItemCount").is_none());
    let whole = page("limit=5").await;
    assert!(whole.get("continue").is_none() && whole.get("remainingItemCount").is_none());
}
