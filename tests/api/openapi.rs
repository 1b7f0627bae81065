//! The OpenAPI documents as clients fetch them: by the index, by hash, compressed, and not again.

use flate2::read::GzDecoder;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use orch::server::http::authn::User;
use orch::server::http::body;
use serde_json::Value;

use crate::cluster::Cluster;

struct Raw {
    code: u16,
    headers: HeaderMap,
    content: Vec<u8>,
}

impl Raw {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

async fn raw(cluster: &Cluster, path: &str, headers: &[(&str, &str)]) -> Raw {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = cluster.server.handle(User::admin(), request.body(body::empty()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let content = body.collect().await.unwrap().to_bytes().to_vec();
    Raw { code: parts.status.as_u16(), headers: parts.headers, content }
}

async fn address(cluster: &Cluster, root: &str) -> String {
    let index = cluster.get("/openapi/v3").await.ok();
    index["paths"][root]["serverRelativeURL"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn documents_are_found_by_their_hash_and_kept_for_a_year() {
    let cluster = Cluster::new().await;
    let url = address(&cluster, "apis/apps/v1").await;
    let found = raw(&cluster, &url, &[]).await;
    assert_eq!((found.code, found.header("cache-control")), (200, "public, immutable"));
    assert!(found.header("expires").ends_with(" GMT"), "{}", found.header("expires"));
    let (path, hash) = url.split_once("?hash=").unwrap();
    assert_eq!(found.header("etag"), format!("\"{hash}\""));
    let document: Value = serde_json::from_slice(&found.content).unwrap();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");

    let known = raw(&cluster, path, &[("if-none-match", found.header("etag"))]).await;
    assert_eq!((known.code, known.content.len()), (304, 0));
    assert_eq!(known.header("cache-control"), "no-cache, private");
    let old = raw(&cluster, &format!("{path}?hash=OLD"), &[]).await;
    assert_eq!((old.code, old.header("location")), (301, url.as_str()));
    assert_eq!(cluster.get("/openapi/v3/apis/none/v1").await.code, 404);
    assert_eq!(cluster.get("/openapi/v3/version").await.ok()["openapi"], "3.0.0");
}

#[tokio::test]
async fn documents_are_compressed_for_who_asks_and_json_only() {
    let cluster = Cluster::new().await;
    let plain = raw(&cluster, "/openapi/v3/api/v1", &[("accept", "application/json")]).await;
    let small = raw(&cluster, "/openapi/v3/api/v1", &[("accept-encoding", "gzip")]).await;
    assert_eq!((plain.header("content-encoding"), small.header("content-encoding")), ("", "gzip"));
    assert!(small.content.len() * 10 < plain.content.len());
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(small.content.as_slice()), &mut text).unwrap();
    assert!(text == plain.content, "the same document");
    let protobuf = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let refused = raw(&cluster, "/openapi/v3/api/v1", &[("accept", protobuf)]).await;
    assert_eq!((refused.code, refused.content.len()), (406, 0));
    let either = raw(&cluster, "/openapi/v3/api/v1", &[("accept", &format!("{protobuf},application/json"))]).await;
    assert_eq!((either.code, either.header("content-type")), (200, "application/json"));
}

#[tokio::test]
async fn version_two_is_one_document_as_json_or_protobuf() {
    let cluster = Cluster::new().await;
    let json = raw(&cluster, "/openapi/v2", &[]).await;
    assert_eq!((json.code, json.header("content-type")), (200, "application/json"));
    let document: Value = serde_json::from_slice(&json.content).unwrap();
    assert_eq!(document["info"]["title"], "Kubernetes");
    let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let bytes = raw(&cluster, "/openapi/v2", &[("accept", asked)]).await;
    // What is asked for is no media type by the standard; the answer names one.
    let protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!((bytes.code, bytes.header("content-type")), (200, protobuf));
    // Field 9, the definitions or field 2, the information: a message, not text.
    assert!(bytes.content.windows(5).any(|part| part == b"\x0a\x032.0") && bytes.content[0] != b'{');
    assert_ne!(bytes.header("etag"), json.header("etag"));
    assert_eq!(raw(&cluster, "/openapi/v2", &[("accept", "text/html")]).await.code, 406);
}

/// Columns that show a field say of it what its documentation does.
#[tokio::test]
async fn columns_say_what_the_documentation_says() {
    let cluster = Cluster::new().await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let cases = [
        ("api/v1", "pods", "IP", "core.v1.PodStatus", "podIP"),
        ("api/v1", "services", "Cluster-IP", "core.v1.ServiceSpec", "clusterIP"),
        ("api/v1", "persistentvolumes", "Claim", "core.v1.PersistentVolumeSpec", "claimRef"),
        ("apis/batch/v1", "cronjobs", "Schedule", "batch.v1.CronJobSpec", "schedule"),
        ("apis/storage.k8s.io/v1", "csidrivers", "Modes", "storage.v1.CSIDriverSpec", "volumeLifecycleModes"),
        ("apis/rbac.authorization.k8s.io/v1", "rolebindings", "Role", "rbac.v1.RoleBinding", "roleRef"),
    ];
    for (root, plural, column, schema, field) in cases {
        let url = address(&cluster, root).await;
        let document: Value = serde_json::from_slice(&raw(&cluster, &url, &[]).await.content).unwrap();
        let field = &document["components"]["schemas"][format!("io.k8s.api.{schema}")]["properties"][field];
        let found = cluster.get_as(&format!("/{root}/{plural}"), table).await.ok();
        let columns = found["columnDefinitions"].as_array().unwrap();
        let shown = columns.iter().find(|shown| shown["name"] == column).unwrap();
        assert!(field["description"].is_string() && shown["description"] == field["description"], "{shown} {field}");
    }
}
