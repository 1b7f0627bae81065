//! PATCH.

use http::Method;
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, Reply, config_map};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub fn deployment() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}}})
}

async fn patch(cluster: &Cluster, path: &str, kind: &str, body: Value) -> Reply {
    cluster.call(Method::PATCH, path, &format!("application/{kind}"), body.to_string()).await
}

#[tokio::test]
async fn empty_lists_and_maps_are_as_good_as_none() {
    let cluster = Cluster::new().await;
    let metadata =
        json!({"name": "a", "labels": {}, "annotations": {"x": "y"}, "finalizers": [], "ownerReferences": []});
    let made = cluster.post(CONFIG_MAPS, json!({"metadata": metadata, "data": {}})).await.ok();
    assert_eq!(made["data"], Value::Null);
    let metadata = made["metadata"].as_object().unwrap();
    assert!(["labels", "finalizers", "ownerReferences"].iter().all(|field| !metadata.contains_key(*field)), "{made}");
    assert_eq!(
        metadata["managedFields"][0]["fieldsV1"],
        json!({"f:metadata": {"f:annotations": {".": {}, "f:x": {}}}})
    );

    let path = format!("{CONFIG_MAPS}/a");
    let last = json!({"metadata": {"annotations": {"x": null}}});
    let bare = patch(&cluster, &path, "merge-patch+json", last).await.ok();
    assert_eq!(bare["metadata"]["annotations"], Value::Null);
    let nothing = json!([{"op": "add", "path": "/metadata/labels", "value": {}}]);
    let same = patch(&cluster, &path, "json-patch+json", nothing).await.ok();
    assert_eq!(same["metadata"]["resourceVersion"], bare["metadata"]["resourceVersion"]);
    let mut sent = bare.clone();
    sent["metadata"]["finalizers"] = json!([]);
    assert_eq!(cluster.put(&path, sent).await.ok(), bare);
}

#[tokio::test]
async fn three_kinds_of_patch() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let merged = patch(&cluster, &path, "merge-patch+json", json!({"data": {"a": null, "b": "2"}})).await.ok();
    assert_eq!(merged["data"], json!({"b": "2"}));
    let added =
        json!([{"op": "test", "path": "/data/b", "value": "2"}, {"op": "add", "path": "/data/c", "value": "3"}]);
    let patched = patch(&cluster, &path, "json-patch+json", added).await.ok();
    assert_eq!(patched["data"], json!({"b": "2", "c": "3"}));
    let web = format!("{DEPLOYMENTS}/web");
    let created = cluster.post(DEPLOYMENTS, deployment()).await.ok();
    assert_eq!(created["metadata"]["generation"], 1);
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}}});
    let patched = patch(&cluster, &web, "strategic-merge-patch+json", image).await.ok();
    let containers = &patched["spec"]["template"]["spec"]["containers"];
    assert_eq!((&containers[0]["image"], &containers[1]["image"]), (&json!("a:1"), &json!("b:2")));
    assert_eq!(patched["metadata"]["generation"], 2);
}

#[tokio::test]
async fn status_is_its_own_window() {
    let cluster = Cluster::new().await;
    cluster.post(DEPLOYMENTS, deployment()).await.ok();
    let both = json!({"spec": {"replicas": 9}, "status": {"replicas": 3}});
    let path = format!("{DEPLOYMENTS}/web");
    let status = patch(&cluster, &format!("{path}/status"), "merge-patch+json", both.clone()).await.ok();
    assert_eq!((&status["spec"]["replicas"], &status["status"]["replicas"]), (&json!(1), &json!(3)));
    assert_eq!(status["metadata"]["generation"], 1);
    let main = patch(&cluster, &path, "merge-patch+json", json!({"spec": {"replicas": 9}, "status": {"replicas": 0}}));
    let main = main.await.ok();
    assert_eq!((&main["spec"]["replicas"], &main["status"]["replicas"]), (&json!(9), &json!(3)));
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let cluster = Cluster::new().await;
    cluster.post(DEPLOYMENTS, deployment()).await.ok();
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = cluster.get(&path).await.ok();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("app=web")));
    scale["spec"]["replicas"] = json!(4);
    assert_eq!(cluster.put(&path, scale.clone()).await.ok()["spec"]["replicas"], 4);
    assert_eq!(cluster.put(&path, scale).await.code, 409);
    let patched = patch(&cluster, &path, "merge-patch+json", json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 5);
    assert_eq!(cluster.get(&format!("{DEPLOYMENTS}/web")).await.ok()["spec"]["replicas"], 5);
    let negative = patch(&cluster, &path, "merge-patch+json", json!({"spec": {"replicas": -1}})).await;
    assert_eq!(
        (negative.code, negative.said().as_str()),
        (
            422,
            "Invalid: Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        )
    );
    let table = cluster.get_as(&path, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Desired", "Available", "Age"]);
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("web"), json!(5), json!(0)], "{table}");
    let partial = cluster.get_as(&path, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!((&partial["kind"], &partial["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("web")));
}

#[tokio::test]
async fn apply_creates_owns_and_conflicts() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let apply = async |manager: &str, force: bool, data: Value| {
        let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let path = format!("{path}?fieldManager={manager}&force={force}");
        patch(&cluster, &path, "apply-patch+yaml", config).await
    };
    let created = apply("one", false, json!({"x": "1", "y": "1"})).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let first = created.json();
    assert_eq!(first["metadata"]["managedFields"][0]["manager"], "one");
    let again = apply("one", false, json!({"x": "1", "y": "1"})).await;
    assert_eq!(
        (again.code, &again.json()["metadata"]["resourceVersion"]),
        (200, &first["metadata"]["resourceVersion"])
    );
    let conflict = apply("two", false, json!({"x": "2"})).await;
    assert_eq!(
        (conflict.code, conflict.said().as_str()),
        (409, "Conflict: Apply failed with 1 conflict: conflict with \"one\": .data.x")
    );
    assert_eq!(apply("two", true, json!({"x": "2"})).await.ok()["data"], json!({"x": "2", "y": "1"}));
    assert_eq!(apply("one", false, json!({})).await.ok()["data"], json!({"x": "2"}));
    let unmanaged = patch(&cluster, &path, "apply-patch+yaml", json!({"apiVersion": "v1", "kind": "ConfigMap"})).await;
    assert_eq!(
        (unmanaged.code, unmanaged.said().as_str()),
        (
            422,
            "Invalid: PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        )
    );
}

#[tokio::test]
async fn records_of_managers_can_be_given_up() {
    let cluster = Cluster::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    for none in [json!([]), json!([{}])] {
        let made = cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
        assert_eq!(made["metadata"]["managedFields"].as_array().map(Vec::len), Some(1));
        let mut object = config_map("a");
        object["metadata"]["managedFields"] = none.clone();
        let put = cluster.put(&path, object).await.ok();
        assert_eq!(put["metadata"]["managedFields"], Value::Null, "{none}");
        let later = patch(&cluster, &path, "merge-patch+json", json!({"data": {"b": "c"}})).await.ok();
        assert_eq!(later["metadata"]["managedFields"], Value::Null, "{none}");
        cluster.delete(&path, Value::Null).await.ok();
        cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
        let reset = json!({"metadata": {"managedFields": none}});
        let patched = patch(&cluster, &path, "merge-patch+json", reset).await.ok();
        assert_eq!(patched["metadata"]["managedFields"], Value::Null, "{none}");
        cluster.delete(&path, Value::Null).await.ok();
    }
}

#[tokio::test]
async fn bad_patches_change_nothing() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let before = cluster.server.pipeline().store().revision();
    let cases = [
        ("merge-patch+json", json!({"metadata": {"resourceVersion": "1"}}), 409),
        ("merge-patch+json", json!({"metadata": {"name": "b"}}), 400),
        ("merge-patch+json", json!({"data": {"a": 1}}), 422),
        ("merge-patch+json", json!({"metadata": {"uid": "x"}}), 422),
        ("json-patch+json", json!([{"op": "test", "path": "/data/a", "value": "no"}]), 422),
        ("json-patch+json", json!({"op": "test"}), 400),
        ("json", json!({}), 415),
    ];
    for (kind, body, code) in cases {
        let reply = patch(&cluster, &path, kind, body.clone()).await;
        assert_eq!(reply.code, code, "{kind} {body}: {}", reply.text);
    }
    let strict = format!("{path}?fieldValidation=Strict");
    let reply = patch(&cluster, &strict, "merge-patch+json", json!({"foo": 1})).await;
    assert!(reply.said().contains("strict decoding error: unknown field \"foo\""), "{}", reply.text);
    assert_eq!(cluster.server.pipeline().store().revision(), before);
}

#[tokio::test]
async fn patches_without_a_revision_never_conflict_with_each_other() {
    let cluster = std::sync::Arc::new(Cluster::new().await);
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let tasks: Vec<_> = (0..16)
        .map(|at| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                let body = json!({"data": {(format!("k{at}")): "v"}});
                patch(&cluster, &format!("{CONFIG_MAPS}/a"), "merge-patch+json", body).await.code
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    let object = cluster.get(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!(object["data"].as_object().unwrap().len(), 17);
}

/// patch → code, `reason: message`
#[tokio::test]
async fn bad_patches_are_refused_in_upstreams_words() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let rejected = "Invalid: the server rejected our request due to an error in our request";
    let many: String = (0..=10_000).map(|_| r#"{"op":"remove","path":"/a"},"#).collect();
    let many = format!("[{}]", many.trim_end_matches(','));
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        ("json-patch+json", "", r#"[{"op":"test","path":"/data/a","value":"2"}]"#, 422, rejected),
        ("json-patch+json", "", r#"[{"op":"remove","path":"/data/none"}]"#, 422, rejected),
        (
            "json-patch+json",
            "",
            &many,
            413,
            "RequestEntityTooLarge: Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
        ),
        (
            "json-patch+json",
            "",
            "{}",
            400,
            "BadRequest: error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            "json-patch+json",
            "?fieldValidation=Ignore",
            "{}",
            400,
            "BadRequest: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        ("merge-patch+json", "", "{", 400, "BadRequest: error decoding patch: unexpected end of JSON input"),
        (
            "merge-patch+json",
            "",
            r#"{"data":{"a":1}}"#,
            422,
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "strategic-merge-patch+json",
            "",
            r#"{"data":{"a":1}}"#,
            422,
            "patch: Invalid value: \"map[data:map[a:1]]\": cannot convert int64 to string",
        ),
        ("strategic-merge-patch+json", "", r#"{"data":[]}"#, 422, "\"map[data:[]]\": cannot restore map from slice"),
        (
            "merge-patch+json",
            "",
            r#"{"kind":"Secret"}"#,
            422,
            "converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
        (
            "merge-patch+json",
            "",
            r#"{"apiVersion":"v2"}"#,
            422,
            "no kind \"ConfigMap\" is registered for version \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            "strategic-merge-patch+json",
            "?fieldValidation=Strict",
            r#"{"data":{"a":"2","a":"3"},"foo":"x"}"#,
            422,
            "Invalid:  \"\" is invalid: patch: Invalid value: \"map[data:map[a:3] foo:x]\": strict decoding error: duplicate field \"data.a\", unknown field \"foo\"",
        ),
        (
            "json-patch+json",
            "?fieldValidation=Strict",
            r#"[{"op":"add","path":"/foo","value":1,"bar":2},{"op":"add","path":"/x","path":"/data/b","value":"c"}]"#,
            422,
            "strict decoding error: json patch unknown field \"[0].bar\", json patch duplicate field \"[1].path\", unknown field \"foo\"",
        ),
        (
            "merge-patch+json",
            "?force=true",
            "{}",
            422,
            "Invalid: PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
        ),
        (
            "apply-patch+yaml",
            "?fieldManager=m",
            "a: b: c",
            400,
            "BadRequest: error decoding YAML: error converting YAML to JSON: yaml: line 1: mapping values are not allowed in this context",
        ),
        (
            "apply-patch+yaml",
            "?fieldManager=m",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {managedFields: [{}]}",
            400,
            "BadRequest: metadata.managedFields must be nil",
        ),
        (
            "apply-patch+yaml",
            "?fieldManager=m",
            "apiVersion: v1\nkind: Secret",
            400,
            "BadRequest: invalid object type: /v1, Kind=Secret",
        ),
        (
            "apply-patch+yaml",
            "?fieldManager=m",
            "apiVersion: v1\nkind: ConfigMap\nfoo: 1",
            500,
            ": failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .foo: field not declared in schema",
        ),
        (
            "apply-patch+yaml",
            "?fieldManager=m&fieldValidation=Strict",
            "apiVersion: v1\nkind: ConfigMap\nkind: ConfigMap",
            400,
            "BadRequest: error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key \"kind\" already set in map",
        ),
    ];
    for (kind, query, body, code, said) in cases {
        let path = format!("{CONFIG_MAPS}/a{query}");
        let reply = cluster.call(Method::PATCH, &path, &format!("application/{kind}"), (*body).to_owned()).await;
        assert_eq!(reply.code, *code, "{kind} {query}: {}", reply.text);
        assert!(reply.said().ends_with(said), "{kind} {query}: {}", reply.said());
    }
    // What is merged is of its kind already.
    let other = json!({"kind": "Secret", "apiVersion": "v2", "data": {"a": "2"}});
    let merged = patch(&cluster, &format!("{CONFIG_MAPS}/a"), "strategic-merge-patch+json", other).await.ok();
    assert_eq!((&merged["kind"], &merged["data"]["a"]), (&json!("ConfigMap"), &json!("2")));
    let warned = format!("{CONFIG_MAPS}/a?dryRun=All");
    let reply =
        cluster.call(Method::PATCH, &warned, "application/merge-patch+json", r#"{"data":{"b":"1","b":"2"}}"#).await;
    assert_eq!((reply.code, reply.warnings()), (200, vec!["299 - \"duplicate field \\\"data.b\\\"\""]));
}

/// Who scales is recorded in the object, under the object's own path.
#[tokio::test]
async fn scale_has_managers() {
    let cluster = Cluster::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut config = deployment();
    config["apiVersion"] = "apps/v1".into();
    config["kind"] = "Deployment".into();
    let created = patch(&cluster, &format!("{path}?fieldManager=owner"), "apply-patch+yaml", config.clone()).await;
    assert_eq!(created.code, 201, "{}", created.text);
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}});
    let apply =
        async |query: &str| patch(&cluster, &format!("{path}/scale?{query}"), "apply-patch+yaml", scale.clone()).await;
    let conflict = apply("fieldManager=scaler").await;
    assert_eq!(
        (conflict.code, conflict.said().as_str()),
        (409, "Conflict: Apply failed with 1 conflict: conflict with \"owner\": .spec.replicas")
    );
    assert_eq!(apply("fieldManager=scaler&force=true").await.ok()["spec"]["replicas"], 3);
    let object = cluster.get(&path).await.ok();
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(3), &json!(2)));
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let mine = entries.iter().find(|entry| entry["manager"] == "scaler").unwrap();
    assert_eq!(
        (&mine["subresource"], &mine["apiVersion"], &mine["fieldsV1"]),
        (&json!("scale"), &json!("apps/v1"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    let owner = entries.iter().find(|entry| entry["manager"] == "owner").unwrap();
    assert!(owner["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    // The owner is told, until it takes the field back.
    let again = patch(&cluster, &format!("{path}?fieldManager=owner"), "apply-patch+yaml", config).await;
    assert_eq!(
        again.said(),
        "Conflict: Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\": .spec.replicas"
    );
    // kubectl scale.
    let by_patch = format!("{path}/scale?fieldManager=kubectl");
    patch(&cluster, &by_patch, "merge-patch+json", json!({"spec": {"replicas": 4}})).await.ok();
    let object = cluster.get(&path).await.ok();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["manager"] != "scaler"), "{entries:?}");
    let kubectl = entries.iter().find(|entry| entry["manager"] == "kubectl").unwrap();
    assert_eq!((&kubectl["operation"], &kubectl["subresource"]), (&json!("Update"), &json!("scale")));
}

#[tokio::test]
async fn a_scale_means_one_object() {
    let cluster = Cluster::new().await;
    cluster.post(DEPLOYMENTS, deployment()).await.ok();
    let path = format!("{DEPLOYMENTS}/web/scale");
    let uid = cluster.get(&path).await.ok()["metadata"]["uid"].as_str().unwrap().to_owned();
    let wrong = json!({"metadata": {"name": "web", "uid": "x"}, "spec": {"replicas": 2}});
    let reply = cluster.put(&path, wrong).await;
    assert_eq!(
        reply.said(),
        format!(
            "Conflict: Operation cannot be fulfilled on deployments/scale.apps \"web\": Precondition failed: UID in precondition: x, UID in object meta: {uid}"
        )
    );
    let open = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}, "foo": 1});
    let reply = cluster.put(&path, open.clone()).await;
    assert_eq!((reply.code, reply.warnings()), (200, vec!["299 - \"unknown field \\\"foo\\\"\""]));
    assert_eq!(cluster.put(&format!("{path}?fieldValidation=Strict"), open).await.code, 400);
    assert_eq!(cluster.get(&path).await.ok()["metadata"].get("managedFields"), None);
}

/// Fields that a status cannot change have no owner by it.
#[tokio::test]
async fn a_status_owns_what_it_sets() {
    let cluster = Cluster::new().await;
    cluster.post(DEPLOYMENTS, deployment()).await.ok();
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"labels": {"a": "b"}},
        "spec": {"replicas": 9}, "status": {"replicas": 1}});
    let path = format!("{DEPLOYMENTS}/web/status?fieldManager=s");
    let object = patch(&cluster, &path, "apply-patch+yaml", config).await.ok();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let mine = entries.iter().find(|entry| entry["manager"] == "s").unwrap();
    assert_eq!((&mine["subresource"], &mine["fieldsV1"]), (&json!("status"), &json!({"f:status": {"f:replicas": {}}})),);
    assert_eq!((&object["spec"]["replicas"], &object["status"]["replicas"]), (&json!(1), &json!(1)));
}
