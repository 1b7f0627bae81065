//! POST.

use http::Method;
use serde_json::json;

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

#[tokio::test]
async fn a_created_object_has_what_the_system_fills_in() {
    let cluster = Cluster::new().await;
    let reply = cluster.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!(reply.code, 201);
    assert!(reply.headers.contains_key("audit-id"));
    let object = reply.json();
    assert_eq!(object["metadata"]["namespace"], "default");
    assert_eq!(object["metadata"]["uid"].as_str().unwrap().len(), 36);
    assert!(object["metadata"]["creationTimestamp"].is_string());
    assert!(object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/a")).await.ok(), object);
}

#[tokio::test]
async fn names_are_generated() {
    let cluster = Cluster::new().await;
    let object = json!({"metadata": {"generateName": "web-"}});
    let one = cluster.post(CONFIG_MAPS, object.clone()).await.ok();
    let two = cluster.post(CONFIG_MAPS, object).await.ok();
    let name = one["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let cluster = Cluster::new().await;
    let reply = cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await;
    assert_eq!(reply.code, 201);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn yaml_comes_in_and_goes_out() {
    let cluster = Cluster::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  k: v\n";
    assert_eq!(cluster.call(Method::POST, CONFIG_MAPS, "application/yaml", yaml).await.code, 201);
    let reply = cluster.get_as(&format!("{CONFIG_MAPS}/y"), "application/yaml").await;
    assert_eq!(reply.headers["content-type"], "application/yaml");
    assert!(reply.text.contains("kind: ConfigMap\n"), "{}", reply.text);
}

/// path, body → code, `reason: message`.
#[tokio::test]
async fn bad_input_is_refused_in_upstreams_words() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("taken")).await.ok();
    let missing = "/api/v1/namespaces/nowhere/configmaps";
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let cases: &[(&str, &str, u16, &str)] = &[
        (
            CONFIG_MAPS,
            "{",
            400,
            "BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({)",
        ),
        (
            CONFIG_MAPS,
            r#"{"kind":"Foo","apiVersion":"v1"}"#,
            400,
            "BadRequest: Foo in version \"v1\" cannot be handled as a ConfigMap: no kind \"Foo\" is registered for version \"v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            CONFIG_MAPS,
            r#"{"metadata":{"name":"a"},"data":{"x":1}}"#,
            400,
            "BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            CONFIG_MAPS,
            r#"{"metadata":{"name":"A_"}}"#,
            422,
            "Invalid: ConfigMap \"A_\" is invalid: metadata.name: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            CONFIG_MAPS,
            r#"{"metadata":{}}"#,
            422,
            "Invalid: ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (CONFIG_MAPS, r#"{"metadata":{"name":"taken"}}"#, 409, "AlreadyExists: configmaps \"taken\" already exists"),
        (
            CONFIG_MAPS,
            r#"{"metadata":{"name":"a","namespace":"other"}}"#,
            400,
            "BadRequest: the namespace of the provided object does not match the namespace sent on the request (other != default)",
        ),
        (missing, r#"{"metadata":{"name":"a"}}"#, 404, "NotFound: namespaces \"nowhere\" not found"),
        (
            &strict,
            r#"{"metadata":{"name":"a"},"foo":1}"#,
            400,
            "BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\"",
        ),
        ("/api/v1/nothings", "{}", 404, "NotFound: the server could not find the requested resource"),
        (
            "/api/v1/configmaps",
            "{}",
            405,
            "MethodNotAllowed: the server does not allow this method on the requested resource",
        ),
    ];
    for (path, body, code, said) in cases {
        let before = cluster.server.pipeline().store().revision();
        let reply = cluster.call(Method::POST, path, "application/json", (*body).to_owned()).await;
        assert_eq!((reply.code, reply.said().as_str()), (*code, *said), "{path} {body}");
        assert_eq!(reply.json()["kind"], "Status");
        assert_eq!(cluster.server.pipeline().store().revision(), before);
    }
    let reply = cluster.call(Method::POST, CONFIG_MAPS, "application/json", vec![b' '; 4 << 20]).await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (413, "RequestEntityTooLarge: Request entity too large: limit is 3145728")
    );
    let reply = cluster.call(Method::POST, CONFIG_MAPS, "text/csv", "{}").await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (
            415,
            "UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
    );
}

#[tokio::test]
async fn typed_clients_send_protobuf_and_get_json() {
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let cluster = Cluster::new().await;
    // What `kubectl create namespace sched-a` sends.
    let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x1f\x0a\x17\x0a\x07sched-a\x12\0\x1a\0\x22\0\x2a\0\x32\0\x38\0\x42\0\x12\0\x1a\x02\x0a\0\x1a\0\x22\0";
    let reply = cluster.call(Method::POST, "/api/v1/namespaces?fieldValidation=Strict", PROTOBUF, body.to_vec()).await;
    assert_eq!((reply.code, &reply.json()["metadata"]["name"]), (201, &json!("sched-a")));
    assert_eq!(reply.headers["content-type"], "application/json");
    // The same object is no ConfigMap, and half of it is nothing.
    let reply = cluster.call(Method::POST, CONFIG_MAPS, PROTOBUF, body.to_vec()).await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (
            400,
            "BadRequest: Namespace in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Namespace) to (core.ConfigMap): unknown conversion"
        )
    );
    let reply = cluster.call(Method::POST, "/api/v1/namespaces", PROTOBUF, body[..30].to_vec()).await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (
            400,
            "BadRequest: the object provided is unrecognized (must be of type Namespace): unexpected EOF (6b3873000a0f0a02763112094e616d657370616365121f0a170a07736368)"
        )
    );
    // Options of a deletion: wait for nothing.
    let options = b"k8s\0\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions\x12\x0e\x08\0\x12\x0a\x0a\x08no-match";
    let reply = cluster.call(Method::DELETE, "/api/v1/namespaces/sched-a", PROTOBUF, options.to_vec()).await;
    assert_eq!(reply.code, 409, "{}", reply.said());
}

#[tokio::test]
async fn unknown_fields_are_warned_about_by_default() {
    let cluster = Cluster::new().await;
    let reply = cluster.post(CONFIG_MAPS, json!({"metadata": {"name": "a"}, "foo": 1})).await;
    assert_eq!(reply.code, 201);
    assert_eq!(reply.warnings(), ["299 - \"unknown field \\\"foo\\\"\""]);
}
