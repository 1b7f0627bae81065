//! In which form the API answers: media types, tables, metadata alone, many lines, compressed; and what it says
//! where it cannot.

use flate2::read::GzDecoder;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orch::server::http::authn::User;
use orch::server::http::body;
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, Reply, config_map};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

async fn with_maps(names: &[&str]) -> Cluster {
    let cluster = Cluster::new().await;
    for name in names {
        cluster.post(CONFIG_MAPS, config_map(name)).await.ok();
    }
    cluster
}

async fn send(cluster: &Cluster, method: Method, path: &str, headers: &[(&str, &str)], content: &str) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    cluster.send(request.body(body::full(content.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_review_has_no_table_and_nothing_is_created_for_one() {
    let cluster = Cluster::new().await;
    let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n"}});
    for (path, body) in [
        ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review),
        ("/api/v1/namespaces/default/pods/p/binding", binding),
    ] {
        let headers = [("accept", TABLE), ("content-type", "application/json")];
        let refused = send(&cluster, Method::POST, path, &headers, &body.to_string()).await;
        assert_eq!(refused.code, 406, "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn the_program_is_the_manager_of_what_it_writes() {
    let cluster = Cluster::new().await;
    let service = cluster.server.as_user(User::admin()).program("kube-scheduler");
    let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(orch::client::in_process(service));
    let map = ConfigMap { data: Some([("a".to_owned(), "b".to_owned())].into()), ..ConfigMap::default() };
    let map = ConfigMap { metadata: ObjectMeta { name: Some("m".to_owned()), ..ObjectMeta::default() }, ..map };
    let made = maps.create(&Default::default(), &map).await.unwrap();
    assert_eq!(made.metadata.managed_fields.unwrap()[0].manager.as_deref(), Some("kube-scheduler"));
}

#[tokio::test]
async fn rows_tell_which_pods_are_done() {
    let cluster = Cluster::new().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {
        "automountServiceAccountToken": false, "containers": [{"name": "a", "image": "i"}]}});
    cluster.post(pods, pod).await.ok();
    let waiting = cluster.get_as(&format!("{pods}/p"), TABLE).await.ok();
    assert_eq!(waiting["rows"][0].get("conditions"), None);
    let done = json!({"status": {"phase": "Succeeded"}});
    let status = format!("{pods}/p/status");
    cluster.call(Method::PATCH, &status, "application/merge-patch+json", done.to_string()).await.ok();
    let done = cluster.get_as(&format!("{pods}/p"), TABLE).await.ok();
    let condition = json!({"type": "Completed", "status": "True", "reason": "Succeeded",
        "message": "The pod has completed successfully."});
    assert_eq!(done["rows"][0]["conditions"], json!([condition]));
}

#[tokio::test]
async fn tables_carry_what_is_asked_for() {
    let cluster = with_maps(&["a", "b"]).await;
    let path = format!("{CONFIG_MAPS}?limit=1");
    let table = cluster.get_as(&path, TABLE).await.ok();
    assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &json!("meta.k8s.io/v1")));
    assert_eq!(table["metadata"]["remainingItemCount"], 1);
    assert!(table["metadata"]["continue"].is_string());
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1]), (&json!("a"), &json!(1)));
    assert_eq!(table["rows"].as_array().unwrap().len(), 1);
    let object = &table["rows"][0]["object"];
    assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
    assert_eq!(object["data"], Value::Null);
    let whole = cluster.get_as(&format!("{CONFIG_MAPS}?includeObject=Object"), TABLE).await.ok();
    assert_eq!(whole["rows"][1]["object"]["data"]["a"], "1");
    let none = cluster.get_as(&format!("{CONFIG_MAPS}/a?includeObject=None"), TABLE).await.ok();
    assert_eq!(none["rows"][0]["object"], Value::Null);
    assert!(none["metadata"]["resourceVersion"].is_string());
    let beta = cluster.get_as(CONFIG_MAPS, &TABLE.replace("v=v1", "v=v1beta1")).await.ok();
    assert_eq!(beta["apiVersion"], "meta.k8s.io/v1beta1");
    let wrong = cluster.get_as(&format!("{CONFIG_MAPS}?includeObject=All"), TABLE).await;
    assert_eq!(
        wrong.said(),
        "BadRequest: Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty"
    );
    // Who does not want a table is not asked for its options.
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}?includeObject=All")).await.code, 200);
}

#[tokio::test]
async fn metadata_alone_is_one_or_many() {
    let cluster = with_maps(&["a"]).await;
    let one = cluster.get_as(&format!("{CONFIG_MAPS}/a"), METADATA).await.ok();
    assert_eq!((&one["kind"], &one["data"]), (&json!("PartialObjectMetadata"), &Value::Null));
    let many = cluster.get_as(CONFIG_MAPS, METADATA_LIST).await.ok();
    assert_eq!(
        (&many["kind"], &many["items"][0]["metadata"]["name"]),
        (&json!("PartialObjectMetadataList"), &json!("a"))
    );
    assert!(many["metadata"]["resourceVersion"].is_string());
    assert_eq!(
        cluster.get_as(CONFIG_MAPS, METADATA).await.said(),
        "NotAcceptable: you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"
    );
    assert_eq!(
        cluster.get_as(&format!("{CONFIG_MAPS}/a"), METADATA_LIST).await.said(),
        "NotAcceptable: you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)"
    );
    let accept = [("accept", METADATA), ("content-type", "application/merge-patch+json")];
    let path = format!("{CONFIG_MAPS}/a");
    let patched = send(&cluster, Method::PATCH, &path, &accept, r#"{"metadata":{"labels":{"x":"y"}}}"#).await.ok();
    assert_eq!((&patched["kind"], &patched["metadata"]["labels"]["x"]), (&json!("PartialObjectMetadata"), &json!("y")));
}

#[tokio::test]
async fn a_watch_in_tables_describes_its_columns_once() {
    let cluster = with_maps(&["a", "b"]).await;
    let request = Request::get(format!("{CONFIG_MAPS}?watch=1&resourceVersion=0")).header("accept", TABLE);
    let response = cluster.server.handle(User::admin(), request.body(body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let mut body = response.into_body();
    let mut text = Vec::new();
    while text.iter().filter(|byte| **byte == b'\n').count() < 2 {
        text.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    let events: Vec<Value> =
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!((&events[0]["type"], &events[0]["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert_eq!(events[1]["object"]["columnDefinitions"], Value::Null);
    assert_eq!(events[1]["object"]["rows"][0]["cells"][0], "b");
    let yaml = cluster.get_as(&format!("{CONFIG_MAPS}?watch=1"), "application/yaml").await;
    assert!(
        yaml.code == 406
            && yaml.text.contains("only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"),
        "{}",
        yaml.text
    );
}

#[tokio::test]
async fn what_cannot_be_given_or_read_is_said_with_what_can() {
    let cluster = with_maps(&["a"]).await;
    // By upstream's router, which lists what the path can give; told in JSON on many lines.
    let html = cluster.get_as(&format!("{CONFIG_MAPS}/a"), "text/html").await;
    assert_eq!((html.code, &html.headers["content-type"]), (406, &"application/json".parse().unwrap()));
    assert_eq!(
        html.json(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 406, "details": {},
            "message": "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            "reason": "NotAcceptable",
        })
    );
    assert!(html.text.starts_with("{\n  \""), "{}", html.text);
    // By its negotiation, which looks at the form, too.
    let other = cluster.get_as(CONFIG_MAPS, "application/json;as=Other;v=v1;g=meta.k8s.io").await;
    assert_eq!(
        other.said(),
        "NotAcceptable: only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    let text = cluster.call(Method::POST, CONFIG_MAPS, "text/plain", "a").await;
    assert_eq!(text.code, 415);
    assert_eq!(
        text.said(),
        "UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    );
    let patch = cluster.call(Method::PATCH, &format!("{CONFIG_MAPS}/a"), "application/json", "{}").await;
    assert_eq!(patch.said(), "UnsupportedMediaType: 415: Unsupported Media Type");
    assert_eq!(patch.json()["details"], json!({}));
    let charset =
        cluster.call(Method::POST, CONFIG_MAPS, "application/json; charset=utf-8", config_map("b").to_string());
    assert_eq!(charset.await.code, 201);
    // Compressed bodies are not unpacked: what comes is no JSON.
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let packed = send(&cluster, Method::POST, CONFIG_MAPS, &headers, "\u{1f}\u{8b}").await;
    assert_eq!(packed.code, 400);
}

#[tokio::test]
async fn yaml_goes_in_and_out() {
    let cluster = Cluster::new().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  a: \"1\"\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let created = send(&cluster, Method::POST, CONFIG_MAPS, &headers, yaml).await;
    assert_eq!((created.code, &created.headers["content-type"]), (201, &"application/yaml".parse().unwrap()));
    assert!(created.text.contains("kind: ConfigMap\n") && created.text.contains("  name: y\n"), "{}", created.text);
    let applied = [("content-type", "application/apply-patch+yaml"), ("accept", "application/yaml")];
    let path = format!("{CONFIG_MAPS}/z?fieldManager=me");
    let made = send(&cluster, Method::PATCH, &path, &applied, &yaml.replace("name: y", "name: z")).await;
    assert!(made.code == 201 && made.text.contains("manager: me\n"), "{}", made.text);
}

#[tokio::test]
async fn people_see_many_lines() {
    let cluster = with_maps(&["a"]).await;
    let path = format!("{CONFIG_MAPS}/a");
    let curl = send(&cluster, Method::GET, &path, &[("user-agent", "curl/8.0")], "").await;
    assert!(
        curl.text.starts_with("{\n  \"apiVersion\": \"v1\",\n") || curl.text.starts_with("{\n  \"kind\""),
        "{}",
        curl.text
    );
    assert_eq!(curl.json(), cluster.get(&path).await.json());
    let short = send(&cluster, Method::GET, &format!("{path}?pretty=0"), &[("user-agent", "curl/8.0")], "").await;
    assert!(!short.text.trim().contains('\n'));
    let failed = cluster.get(&format!("{CONFIG_MAPS}/none?pretty=true")).await;
    assert!(failed.text.contains("\n  \"reason\": \"NotFound\""), "{}", failed.text);
}

#[tokio::test]
async fn large_answers_are_compressed_for_who_asks() {
    let cluster = with_maps(&["small"]).await;
    let mut large = config_map("large");
    large["data"] = json!({"a": "b".repeat(200_000)});
    cluster.post(CONFIG_MAPS, large).await.ok();
    let get = async |path: &str, encoding: &'static str| -> (HeaderMap, Vec<u8>) {
        let request = Request::get(path).header("accept-encoding", encoding).body(body::empty()).unwrap();
        let (parts, body) = cluster.server.handle(User::admin(), request).await.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    };
    let (headers, packed) = get(CONFIG_MAPS, "gzip").await;
    assert_eq!(
        (&headers["content-encoding"], &headers["vary"]),
        (&"gzip".parse().unwrap(), &"Accept-Encoding".parse().unwrap())
    );
    let mut text = String::new();
    std::io::Read::read_to_string(&mut GzDecoder::new(packed.as_slice()), &mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), cluster.get(CONFIG_MAPS).await.json());
    assert!(packed.len() < 10_000);
    assert!(!get(CONFIG_MAPS, "identity").await.0.contains_key("content-encoding"));
    assert!(!get(&format!("{CONFIG_MAPS}/small"), "gzip").await.0.contains_key("content-encoding"));
}

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let cluster = Cluster::new().await;
    for path in ["/nothing", "/logs", "/debug/pprof/x", "/apis/none.example.com/v1", "/apis/none.example.com/v1/things"]
    {
        let reply = cluster.get(path).await;
        assert_eq!((reply.code, reply.text.as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
    }
    // Where there is a group, the API itself says that it knows no such resource.
    for path in ["/api/v1/things", "/apis/apps/v1/things", "/apis/apps/v9", "/api/v1/namespaces/default/pods/a/thing"] {
        let reply = cluster.get(path).await;
        assert_eq!(reply.said(), "NotFound: the server could not find the requested resource", "{path}");
    }
    for (method, path, allow) in [
        (Method::HEAD, "/api/v1/namespaces", "GET, POST"),
        (Method::OPTIONS, "/api/v1/namespaces/default", "GET, PUT, PATCH, DELETE"),
        (Method::POST, "/api/v1/watch/namespaces/default/configmaps", "GET"),
        (Method::DELETE, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "POST"),
        (Method::PUT, "/version", "GET, HEAD"),
    ] {
        let reply = send(&cluster, method, path, &[], "").await;
        assert_eq!((reply.code, &reply.headers["allow"]), (405, &allow.parse().unwrap()), "{path}");
        assert_eq!(
            reply.json(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 405, "details": {},
                "message": "the server does not allow this method on the requested resource",
                "reason": "MethodNotAllowed",
            })
        );
    }
    assert_eq!(cluster.get("/api/v1/namespaces/").await.code, 200);
    assert_eq!(cluster.get("/version/").await.ok()["minor"], "36");
}

#[tokio::test]
async fn the_root_lists_every_path() {
    let cluster = Cluster::new().await;
    let index = cluster.get("/").await;
    assert!(index.text.starts_with("{\n  \"paths\": [\n    \"/"), "{}", index.text);
    let index = index.ok();
    let paths: Vec<&str> = index["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(paths.is_sorted());
    for path in
        ["/api", "/apis/apps", "/apis/apps/v1", "/healthz/ping", "/readyz/shutdown", "/openapi/v2", "/openapi/v3/"]
    {
        assert!(paths.contains(&path), "{path}");
    }
    for path in paths {
        assert_eq!(cluster.get_as(path, "*/*").await.code, 200, "{path}");
    }
}

#[tokio::test]
async fn discovery_tells_what_the_catalog_holds() {
    let cluster = Cluster::new().await;
    let host = [("host", "server:6443")];
    let versions = send(&cluster, Method::GET, "/api", &host, "").await.ok();
    let reached = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": "server:6443"}]);
    assert_eq!((&versions["versions"], &versions["serverAddressByClientCIDRs"]), (&json!(["v1"]), &reached));
    let groups = cluster.get("/apis").await.ok();
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    // By the priorities that upstream gives its groups.
    let order = [
        "apiregistration.k8s.io",
        "apps",
        "events.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "scheduling.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "resource.k8s.io",
    ];
    assert_eq!(names, order);
    let autoscaling = cluster.get("/apis/autoscaling").await.ok();
    assert_eq!(autoscaling["preferredVersion"], json!({"groupVersion": "autoscaling/v2", "version": "v2"}));
    let core = cluster.get("/api/v1").await.ok();
    let find =
        |name: &str| core["resources"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!(
        find("pods"),
        json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "shortNames": ["po"],
            "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8=",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        })
    );
    assert_eq!(
        find("pods/eviction"),
        json!({
            "name": "pods/eviction", "singularName": "", "namespaced": true, "kind": "Eviction", "group": "policy",
            "version": "v1", "verbs": ["create"],
        })
    );
    assert_eq!(find("bindings")["storageVersionHash"], Value::Null);
}

#[tokio::test]
async fn aggregated_discovery_is_kept_by_its_tag() {
    let cluster = Cluster::new().await;
    for version in ["v2", "v2beta1"] {
        let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
        let reply = cluster.get_as("/apis", &format!("{media},application/json")).await;
        assert_eq!(reply.headers["content-type"].to_str().unwrap(), media);
        let tag = reply.headers["etag"].to_str().unwrap().to_owned();
        let document = reply.ok();
        assert_eq!(document["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        let apps =
            document["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
        assert_eq!(apps["versions"][0]["freshness"], "Current");
        let all = apps["versions"][0]["resources"].as_array().unwrap();
        let deployments = all.iter().find(|one| one["resource"] == "deployments").unwrap();
        assert_eq!(deployments["responseKind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
        assert_eq!(
            deployments["subresources"][0],
            json!({
                "subresource": "scale", "verbs": ["get", "patch", "update"],
                "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
            })
        );
        let again = send(&cluster, Method::GET, "/apis", &[("accept", &media), ("if-none-match", &tag)], "").await;
        assert_eq!((again.code, again.text.as_str()), (304, ""));
    }
}
