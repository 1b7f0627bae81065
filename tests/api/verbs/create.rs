//! POST.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::Method;
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::store::memory::MemoryStore;
use orch::store::{self, Expect, Item, ListOptions, Page, Revision, Store, Watch, Write};
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

/// A store in which the first names tried for ConfigMaps are all in use.
struct Crowded {
    store: Arc<MemoryStore>,
    taken: usize,
    tried: AtomicUsize,
}

#[async_trait]
impl Store for Crowded {
    async fn write_all(&self, writes: Vec<Write>) -> store::Result<Vec<Item>> {
        let creates = |write: &&Write| write.expect == Expect::Absent && write.key.contains("/configmaps/");
        let created = writes.iter().find(creates).map(|write| write.key.clone());
        match created {
            Some(key) if self.tried.fetch_add(1, Ordering::Relaxed) < self.taken => {
                Err(store::Error::Conflict { key, current: None })
            }
            _ => self.store.write_all(writes).await,
        }
    }
    fn revision(&self) -> Revision {
        self.store.revision()
    }
    fn get(&self, key: &str) -> Option<Item> {
        self.store.get(key)
    }
    async fn list(&self, prefix: &str, options: ListOptions) -> store::Result<Page> {
        self.store.list(prefix, options).await
    }
    fn count(&self, prefix: &str) -> usize {
        self.store.count(prefix)
    }
    fn health(&self) -> store::Result<()> {
        self.store.health()
    }
    async fn watch(&self, prefix: &str, after: Revision) -> store::Result<Watch> {
        self.store.watch(prefix, after).await
    }
    async fn compact(&self, revision: Revision) -> store::Result<()> {
        self.store.compact(revision).await
    }
    async fn close(&self) {
        self.store.close().await;
    }
}

#[tokio::test]
async fn a_generated_name_is_drawn_up_to_eight_times() {
    let unnamed = json!({"generateName": "web-"});
    let named = json!({"generateName": "web-", "name": "mine"});
    for (metadata, taken, code, tries) in [(&unnamed, 7, 201, 8), (&unnamed, 8, 409, 8), (&named, 1, 409, 1)] {
        let store = Arc::new(Crowded { store: MemoryStore::new(), taken, tried: AtomicUsize::new(0) });
        let cluster = Cluster::over(ApiServer::new(ApiServerConfig::default(), store.clone())).await;
        let reply = cluster.post(CONFIG_MAPS, json!({"metadata": metadata})).await;
        assert_eq!((reply.code, store.tried.load(Ordering::Relaxed)), (code, tries), "{metadata}");
        if code == 409 {
            let status = reply.json();
            let name = status["details"]["name"].as_str().unwrap();
            assert!(name == "mine" || (name.starts_with("web-") && name.len() == 9), "{name}");
            let said = "already exists, the server was not able to generate a unique name for the object";
            assert_eq!(reply.said(), format!("AlreadyExists: configmaps \"{name}\" {said}"));
            assert_eq!(status["details"], json!({"kind": "configmaps", "name": name, "retryAfterSeconds": 1}));
            assert_eq!(reply.headers["retry-after"], "1");
        }
    }
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
            "[]",
            400,
            "BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)",
        ),
        (
            CONFIG_MAPS,
            "null",
            422,
            "Invalid: ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            CONFIG_MAPS,
            r#"{"kind":null,"apiVersion":null,"metadata":{"name":"taken"}}"#,
            409,
            "AlreadyExists: configmaps \"taken\" already exists",
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
            "BadRequest: the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            CONFIG_MAPS,
            r#"{"metadata":{"name":"a","resourceVersion":"5"}}"#,
            500,
            ": resourceVersion should not be set on objects to be created",
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

/// Upstream's table of field validation, with the paths that newer versions tell.
#[tokio::test]
async fn strict_readers_tell_everything_in_order() {
    let cluster = Cluster::new().await;
    let json = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","unknown":1,"labels":{"x":"1","x":"2"}},
        "foo":1,"foo":2,"immutable":true,"immutable":false}"#;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  unknown: 1\n  labels:\n    x: \"1\"\n    x: \"2\"\nfoo: 1\nfoo: 2\n";
    let cases = [
        (
            "application/json",
            json,
            "unknown field \"metadata.unknown\", duplicate field \"metadata.labels.x\", unknown field \"foo\", duplicate field \"immutable\"",
            vec![
                "unknown field \"metadata.unknown\"",
                "duplicate field \"metadata.labels.x\"",
                "unknown field \"foo\"",
                "duplicate field \"immutable\"",
            ],
        ),
        (
            "application/yaml",
            yaml,
            "yaml: unmarshal errors:\n  line 8: key \"x\" already set in map\n  line 10: key \"foo\" already set in map, unknown field \"foo\", unknown field \"metadata.unknown\"",
            vec![
                "line 8: key \"x\" already set in map",
                "line 10: key \"foo\" already set in map",
                "unknown field \"foo\"",
                "unknown field \"metadata.unknown\"",
            ],
        ),
    ];
    for (media, body, why, warnings) in cases {
        let call = async |validation: &str| {
            let path = format!("{CONFIG_MAPS}?dryRun=All{validation}");
            cluster.call(Method::POST, &path, media, body.to_owned()).await
        };
        let strict = call("&fieldValidation=Strict").await;
        let said = format!(
            "BadRequest: ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {why}"
        );
        assert_eq!((strict.code, strict.said()), (400, said));
        let wanted: Vec<_> = warnings.iter().map(|text| format!("299 - \"{}\"", text.replace('"', "\\\""))).collect();
        for quiet in ["", "&fieldValidation=Warn"] {
            let reply = call(quiet).await;
            assert_eq!((reply.code, reply.warnings()), (201, wanted.iter().map(String::as_str).collect()), "{media}");
        }
        assert_eq!(call("&fieldValidation=Ignore").await.warnings(), Vec::<&str>::new());
    }
    let reply = cluster.post(&format!("{CONFIG_MAPS}?fieldValidation=Maybe"), config_map("a")).await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (
            422,
            "Invalid: CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"Maybe\": supported values: \"Ignore\", \"Strict\", \"Warn\""
        )
    );
    let reply = cluster.call(Method::POST, CONFIG_MAPS, "application/yaml", "a: b: c").await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (
            400,
            "BadRequest: the object provided is unrecognized (must be of type ConfigMap): yaml: line 1: mapping values are not allowed in this context (613a20623a2063)"
        )
    );
}

#[tokio::test]
async fn a_dry_run_takes_no_address() {
    let cluster = Cluster::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "clusterIP": "10.43.9.9", "ports": [{"port": 80, "nodePort": 30099}]}});
    let dry = cluster.post(&format!("{services}?dryRun=All"), service("a")).await.ok();
    assert_eq!(dry["spec"]["clusterIP"], "10.43.9.9");
    let made = cluster.post(services, service("b")).await.ok();
    assert_eq!(made["spec"]["ports"][0]["nodePort"], 30099);
    assert_eq!(cluster.post(&format!("{services}?dryRun=All"), service("c")).await.code, 422);
}

#[tokio::test]
async fn a_generated_name_that_is_taken_is_said_so() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("a")).await.ok();
    let reply = cluster.post(CONFIG_MAPS, json!({"metadata": {"name": "a", "generateName": "a"}})).await;
    assert_eq!(
        (reply.code, reply.said().as_str()),
        (
            409,
            "AlreadyExists: configmaps \"a\" already exists, the server was not able to generate a unique name for the object"
        )
    );
    assert_eq!(reply.json()["details"]["retryAfterSeconds"], 1);
}

#[tokio::test]
async fn an_owner_is_named_once() {
    let cluster = Cluster::new().await;
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u1"});
    let mut object = config_map("a");
    object["metadata"]["ownerReferences"] = json!([owner, owner]);
    let warning = "299 - \".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u1\"";
    let reply = cluster.post(CONFIG_MAPS, object.clone()).await;
    assert_eq!(reply.warnings(), [warning]);
    let created = reply.ok();
    assert_eq!(created["metadata"]["ownerReferences"], json!([owner]));
    let reply = cluster.put(&format!("{CONFIG_MAPS}/a"), object).await;
    assert_eq!(reply.warnings(), [warning]);
    assert_eq!(reply.ok(), created);
    let patch = json!({"metadata": {"ownerReferences": [owner, owner]}}).to_string();
    let path = format!("{CONFIG_MAPS}/a");
    let reply = cluster.call(Method::PATCH, &path, "application/merge-patch+json", patch).await;
    assert!(
        reply.warnings()[0].contains("duplicate entries after mutating admission happens; "),
        "{:?}",
        reply.warnings()
    );
}

#[tokio::test]
async fn quantities_are_kept_in_one_form() {
    let cluster = Cluster::new().await;
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1000m", "memory": 1024, "pods": 4.0}}});
    let created = cluster.post(&format!("{quotas}?fieldValidation=Strict"), quota.clone()).await.ok();
    assert_eq!(created["spec"]["hard"], json!({"cpu": "1", "memory": "1024", "pods": "4"}));
    // The same in another form is the same.
    assert_eq!(cluster.put(&format!("{quotas}/q"), quota).await.ok(), created);
    let config = "apiVersion: v1\nkind: ResourceQuota\nspec: {hard: {cpu: 2000m}}";
    let path = format!("{quotas}/q?fieldManager=m&force=true");
    let apply = async || cluster.call(Method::PATCH, &path, "application/apply-patch+yaml", config).await.ok();
    let first = apply().await;
    assert_eq!(first["spec"]["hard"]["cpu"], "2");
    assert_eq!(apply().await, first);
    let bad = json!({"metadata": {"name": "r"}, "spec": {"hard": {"cpu": "many"}}});
    assert_eq!(
        cluster.post(quotas, bad).await.said(),
        "BadRequest: ResourceQuota in version \"v1\" cannot be handled as a ResourceQuota: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    );
}

#[tokio::test]
async fn owners_are_shown_as_go_writes_them() {
    let cluster = Cluster::new().await;
    let owner = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "name": name, "uid": name});
    let controller = |name: &str| {
        let mut owner = owner("Pod", name);
        owner["controller"] = true.into();
        owner
    };
    let (a, b) = (
        r#"{"apiVersion":"v1","kind":"Pod","name":"a","uid":"a","controller":true}"#,
        r#"{"apiVersion":"v1","kind":"Pod","name":"b","uid":"b","controller":true}"#,
    );
    let event = r#"{"apiVersion":"v1","kind":"Event","name":"e","uid":"e"}"#;
    let cases = [
        (
            json!([controller("a"), controller("b")]),
            format!(
                "[{a},{b}]: Only one reference can have Controller set to true. Found \"true\" in references for Pod/a and Pod/b"
            ),
        ),
        (json!([owner("Event", "e")]), format!("{event}: /v1, Kind=Event is disallowed from being an owner")),
    ];
    for (owners, why) in cases {
        let reply = cluster.post(CONFIG_MAPS, json!({"metadata": {"name": "x", "ownerReferences": owners}})).await;
        let said = format!("Invalid: ConfigMap \"x\" is invalid: metadata.ownerReferences: Invalid value: {why}");
        assert_eq!((reply.code, reply.said()), (422, said));
    }
}
