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
async fn bad_patches_change_nothing() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    let before = cluster.server.pipeline().store().revision();
    let cases = [
        ("merge-patch+json", json!({"metadata": {"resourceVersion": "1"}}), 409),
        ("merge-patch+json", json!({"metadata": {"name": "b"}}), 400),
        ("merge-patch+json", json!({"data": {"a": 1}}), 422),
        ("merge-patch+json", json!({"metadata": {"uid": "x"}}), 409),
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
