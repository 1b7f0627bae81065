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

/// options → code, `reason: message`
#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let cluster = Cluster::new().await;
    let uid = cluster.post(CONFIG_MAPS, config_map("a")).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned();
    let version = cluster.get(&format!("{CONFIG_MAPS}/a")).await.ok()["metadata"]["resourceVersion"].clone();
    let version = version.as_str().unwrap();
    let invalid = "Invalid: DeleteOptions.meta.k8s.io \"\" is invalid: ";
    let alone = "ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: ";
    let cases = [
        (
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            422,
            format!(
                "{invalid}propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"
            ),
        ),
        (
            json!({"propagationPolicy": "Sideways"}),
            422,
            format!(
                "{invalid}propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
            ),
        ),
        (
            json!({"dryRun": ["Some"]}),
            422,
            format!("{invalid}dryRun: Unsupported value: \"Some\": supported values: \"All\""),
        ),
        (
            json!({"preconditions": {"uid": "x"}}),
            409,
            format!(
                "Conflict: Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (x) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
            ),
        ),
        (
            json!({"preconditions": {"resourceVersion": "1"}}),
            409,
            format!(
                "Conflict: Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({version}). The object might have been modified"
            ),
        ),
        (
            json!({"ignoreStoreReadErrorWithClusterBreakingPotential": true, "gracePeriodSeconds": 0}),
            422,
            format!("{invalid}{alone}cannot be set together with .gracePeriodSeconds"),
        ),
        (
            json!({"ignoreStoreReadErrorWithClusterBreakingPotential": true}),
            422,
            format!(
                "Invalid: configmaps \"a\" is invalid: {alone}is exclusively used to delete corrupt object(s), try again by removing this option"
            ),
        ),
    ];
    for (options, code, said) in cases {
        let reply = cluster.delete(&format!("{CONFIG_MAPS}/a"), options.clone()).await;
        assert_eq!((reply.code, reply.said()), (code, said), "{options}");
    }
    let all = cluster.delete(CONFIG_MAPS, json!({"ignoreStoreReadErrorWithClusterBreakingPotential": true})).await;
    assert_eq!(
        all.said(),
        format!("{invalid}{alone}is not allowed with DELETECOLLECTION, try again after removing the option")
    );
    let head = "couldn't get version/kind; json parse error: ";
    let unread = [
        ("application/json", "{", format!("{head}unexpected end of JSON input")),
        ("application/json", "{}x", format!("{head}invalid character 'x' after top-level value")),
        (
            "application/json",
            r#"{"gracePeriodSeconds":"x"}"#,
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
                .to_owned(),
        ),
        ("application/yaml", "a: b: c", "yaml: line 1: mapping values are not allowed in this context".to_owned()),
    ];
    for (media, body, why) in unread {
        let reply = cluster.call(http::Method::DELETE, &format!("{CONFIG_MAPS}/a"), media, body).await;
        assert_eq!((reply.code, reply.said()), (500, format!(": {why}")), "{body}");
    }
    let nothing =
        cluster.call(http::Method::DELETE, &format!("{CONFIG_MAPS}/a?uid=x"), "application/json", "null").await;
    assert_eq!(nothing.code, 200, "{}", nothing.text);
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let meta = cluster.get(&format!("{CONFIG_MAPS}/a")).await.ok()["metadata"].clone();
    let (uid, version) = (&meta["uid"], &meta["resourceVersion"]);
    let by_query = cluster.delete(&format!("{CONFIG_MAPS}/a?uid=x"), Value::Null).await;
    assert_eq!(by_query.code, 409);
    let right = json!({"preconditions": {"uid": uid, "resourceVersion": version}});
    assert_eq!(cluster.delete(&format!("{CONFIG_MAPS}/a"), right).await.code, 200);
}

#[tokio::test]
async fn jobs_keep_their_pods_unless_told() {
    let cluster = Cluster::new().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}}});
    cluster.post(jobs, job).await.ok();
    let reply = cluster.delete(&format!("{jobs}/j"), Value::Null).await;
    assert_eq!(
        reply.warnings(),
        [
            "299 - \"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning\""
        ]
    );
    assert_eq!(reply.ok()["metadata"]["finalizers"], json!(["orphan"]));
    let reply = cluster.delete(&format!("{jobs}/j"), json!({"propagationPolicy": "Background"})).await;
    assert_eq!((reply.warnings().len(), reply.json()["status"].as_str()), (0, Some("Success")));
}

#[tokio::test]
async fn the_answer_is_202_for_what_stays_in_the_old_way() {
    let cluster = Cluster::new().await;
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    cluster.post(CONFIG_MAPS, object).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let dry = cluster.delete(&path, json!({"dryRun": ["All"]})).await.ok();
    assert!(dry["metadata"]["deletionTimestamp"].is_string());
    assert!(cluster.get(&path).await.ok()["metadata"]["deletionTimestamp"].is_null());
    let reply = cluster.delete(&path, json!({"orphanDependents": false})).await;
    assert_eq!((reply.code, &reply.json()["kind"]), (202, &json!("ConfigMap")));
    // Nothing changes, so that nothing is written.
    let before = cluster.server.pipeline().store().revision();
    cluster.delete(&path, Value::Null).await.ok();
    assert_eq!(cluster.server.pipeline().store().revision(), before);
}

#[tokio::test]
async fn a_collection_is_deleted_page_by_page() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c", "d"] {
        cluster.post(CONFIG_MAPS, config_map(name)).await.ok();
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let dry = cluster.delete(&format!("{CONFIG_MAPS}?limit=3"), json!({"dryRun": ["All"]})).await.ok();
    assert_eq!(names(&dry), ["a", "b", "c"]);
    let first = cluster.delete(&format!("{CONFIG_MAPS}?limit=3"), Value::Null).await.ok();
    assert_eq!(names(&first), ["a", "b", "c"]);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = cluster.delete(&format!("{CONFIG_MAPS}?limit=3&continue={token}"), Value::Null).await.ok();
    assert_eq!((first["kind"].as_str(), names(&second)), (Some("ConfigMapList"), vec!["d".to_owned()]));
    assert_eq!(names(&cluster.get(CONFIG_MAPS).await.ok()).len(), 0);
}
