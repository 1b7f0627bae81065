//! Whatever comes in: an answer comes back, the server stays as it is, and nothing grows.

use http::Method;
use orch::server::http::body;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// JSON of the shapes that requests have, with the keys that mean something somewhere.
fn tree() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "finalizers",
        "managedFields",
        "spec",
        "template",
        "containers",
        "image",
        "selector",
        "matchLabels",
        "replicas",
        "status",
        "data",
        "kind",
        "apiVersion",
        "uid",
        "resourceVersion",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "op",
        "path",
        "from",
        "value",
        "ports",
        "",
        "items",
        "preconditions",
        "propagationPolicy",
        "gracePeriodSeconds",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "a",
            "default",
            "v1",
            "ConfigMap",
            "Deployment",
            "apps/v1",
            "delete",
            "replace",
            "merge",
            "add",
            "test",
            "move",
            "/metadata/labels/a",
            "/spec/template/spec/containers/0",
            "/",
            "",
            "-1",
            "\u{0}",
            "é",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// One request after the other over one cluster, each seen by `check`.
fn requests<S: Strategy>(
    cases: u32,
    strategy: S,
    send: impl AsyncFn(&Cluster, S::Value) -> http::Response<body::Body>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cluster = runtime.block_on(async {
        let cluster = Cluster::new().await;
        cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
        let deployment = json!({"metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}});
        cluster.post(DEPLOYMENTS, deployment).await.ok();
        cluster
    });
    let store = cluster.server.pipeline().store().clone();
    let objects = store.count("/registry/");
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&strategy, |input| {
        let before = store.revision();
        let response = runtime.block_on(send(&cluster, input));
        prop_assert!(response.status().as_u16() >= 200);
        prop_assert!(store.revision() <= before + 1);
        prop_assert!(store.count("/registry/") <= objects + 1);
        // The cluster is for everybody: what one request made goes again.
        runtime.block_on(async {
            cluster.delete(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name!%3Da"), Value::Null).await;
        });
        Ok(())
    });
    outcome.unwrap();
}

async fn call(
    cluster: &Cluster,
    method: Method,
    path: &str,
    media: &str,
    bytes: Vec<u8>,
) -> http::Response<body::Body> {
    let request = http::Request::builder().method(method).uri(path).header("content-type", media);
    let request = request.body(body::full(bytes)).unwrap();
    cluster.server.handle(orch::server::http::authn::User::admin(), request).await
}

const MEDIA: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

#[test]
fn bodies_of_bytes() {
    let methods = prop::sample::select(vec![Method::POST, Method::PUT, Method::PATCH, Method::DELETE]);
    let media = prop::sample::select(MEDIA.iter().chain(&PATCHES).copied().collect::<Vec<_>>());
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    requests(256, (methods, media, bytes), async |cluster, (method, media, bytes)| {
        let path = match method {
            Method::POST => CONFIG_MAPS.to_owned(),
            _ => format!("{CONFIG_MAPS}/none?fieldManager=m"),
        };
        call(cluster, method, &path, media, bytes).await
    });
}

#[test]
fn bodies_of_trees() {
    let places = prop::sample::select(vec![
        (Method::POST, CONFIG_MAPS.to_owned()),
        (Method::PUT, format!("{CONFIG_MAPS}/a")),
        (Method::PUT, format!("{DEPLOYMENTS}/a/scale")),
        (Method::DELETE, format!("{CONFIG_MAPS}/none")),
        (Method::POST, "/api/v1/namespaces/default/pods/none/eviction".to_owned()),
        (Method::POST, "/api/v1/namespaces/default/pods/none/binding".to_owned()),
    ]);
    requests(256, (places, tree()), async |cluster, ((method, path), tree)| {
        call(cluster, method, &path, "application/json", tree.to_string().into_bytes()).await
    });
}

#[test]
fn patches_of_trees() {
    let places = prop::sample::select(vec!["", "/status", "/scale"]);
    let media = prop::sample::select(PATCHES.to_vec());
    requests(384, (places, media, tree()), async |cluster, (place, media, mut tree)| {
        if media.ends_with("yaml") && tree.is_object() {
            tree["apiVersion"] = "apps/v1".into();
            tree["kind"] = "Deployment".into();
        }
        let path = format!("{DEPLOYMENTS}/a{place}?fieldManager=m&dryRun=All&force=true");
        let path = if media.ends_with("yaml") { path } else { path.replace("&force=true", "") };
        call(cluster, Method::PATCH, &path, media, tree.to_string().into_bytes()).await
    });
}

#[test]
fn queries() {
    let names = prop::sample::select(vec![
        "labelSelector",
        "fieldSelector",
        "continue",
        "limit",
        "resourceVersion",
        "resourceVersionMatch",
        "timeoutSeconds",
        "sendInitialEvents",
        "dryRun",
        "gracePeriodSeconds",
    ]);
    let values = prop_oneof![
        "[a-z0-9=!,()/ <>.\\-]{0,30}",
        ".{0,20}",
        prop::sample::select(vec![
            "0",
            "1",
            "-1",
            "99999999999999999999",
            "Exact",
            "NotOlderThan",
            "a in (b,c)",
            "metadata.name=a"
        ])
        .prop_map(str::to_owned),
    ];
    let pairs = prop::collection::vec((names, values), 1..4);
    requests(512, pairs, async |cluster, pairs| {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        call(cluster, Method::GET, &format!("{CONFIG_MAPS}?{query}"), "", Vec::new()).await
    });
}
