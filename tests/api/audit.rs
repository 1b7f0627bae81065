//! The audit log, line by line and field by field.

use std::path::Path;

use http::Request;
use orch::server::http::audit::{Audit, Log, LogOptions, Policy};
use orch::server::http::authn::User;
use orch::server::http::{ApiServer, ApiServerConfig, body};
use orch::store::memory::MemoryStore;
use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ['system:admin'], verbs: [get]}
- {level: None, resources: [{group: '', resources: [namespaces, serviceaccounts]}]}
- {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], verbs: [create]}
- {level: Request, resources: [{group: '', resources: [configmaps]}], verbs: [patch]}
- {level: Metadata}
";

async fn recorded(dir: &Path) -> Cluster {
    let options = LogOptions { path: dir.join("audit.log"), max_size: 0, max_backups: 0, max_age: 0 };
    let audit = Audit::new(Policy::parse(POLICY).unwrap(), Log::open(options).unwrap());
    let config = ApiServerConfig { audit: Some(audit), ..ApiServerConfig::default() };
    Cluster::over(ApiServer::new(config, MemoryStore::new())).await
}

/// The lines, once all are written.
async fn lines(cluster: &Cluster, dir: &Path) -> Vec<Value> {
    cluster.server.close_audit().await;
    let text = std::fs::read_to_string(dir.join("audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_creation_is_recorded_with_all_that_the_level_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = recorded(dir.path()).await;
    let request = Request::post(format!("{CONFIG_MAPS}?fieldManager=me"))
        .header("content-type", "application/json")
        .header("user-agent", "test/1")
        .header("audit-id", "the-id")
        .header("x-forwarded-for", "192.0.2.9");
    let request = request.body(body::full(config_map("a").to_string())).unwrap();
    let reply = cluster.send_as(User::new("alice", &["system:masters"]), request).await;
    assert_eq!(reply.headers["audit-id"], "the-id");
    let mut made = reply.ok();
    made["metadata"].as_object_mut().unwrap().remove("managedFields");
    let mut line = lines(&cluster, dir.path()).await.remove(0);
    for time in ["requestReceivedTimestamp", "stageTimestamp"] {
        let text = line[time].as_str().unwrap().to_owned();
        assert_eq!(text.len(), "2026-01-02T03:04:05.000000Z".len(), "{text}");
        line.as_object_mut().unwrap().remove(time);
    }
    assert_eq!(
        line,
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "the-id",
            "stage": "ResponseComplete", "requestURI": format!("{CONFIG_MAPS}?fieldManager=me"), "verb": "create",
            "user": {"username": "alice", "groups": ["system:masters", "system:authenticated"]},
            "sourceIPs": ["192.0.2.9", "::1"], "userAgent": "test/1",
            "objectRef": {"resource": "configmaps", "namespace": "default", "name": "a", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 201},
            "requestObject": config_map("a"), "responseObject": made,
            "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
        })
    );
}

#[tokio::test]
async fn each_rule_has_its_level() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = recorded(dir.path()).await;
    cluster.get(CONFIG_MAPS).await.ok();
    assert_eq!(cluster.delete(&format!("{CONFIG_MAPS}/none"), Value::Null).await.code, 404);
    let patch = json!({"data": {"b": "2"}});
    let path = format!("{CONFIG_MAPS}/none");
    let merge = "application/merge-patch+json";
    assert_eq!(cluster.call(http::Method::PATCH, &path, merge, patch.to_string()).await.code, 404);
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1")).await;
    while watch.next().await.is_some() {}
    drop(watch);
    let lines = lines(&cluster, dir.path()).await;
    let short = |line: &Value| {
        format!(
            "{} {} {}",
            line["verb"].as_str().unwrap(),
            line["stage"].as_str().unwrap(),
            line["level"].as_str().unwrap()
        )
    };
    let found: Vec<_> = lines.iter().map(short).collect();
    assert_eq!(
        found,
        [
            "list ResponseComplete Metadata",
            "delete ResponseComplete Metadata",
            "patch ResponseComplete Request",
            "watch ResponseStarted Metadata",
            "watch ResponseComplete Metadata",
        ]
    );
    let status = &lines[1]["responseStatus"];
    assert_eq!((&status["reason"], &status["code"]), (&json!("NotFound"), &json!(404)));
    assert_eq!((&lines[2]["requestObject"], lines[2].get("responseObject")), (&patch, None));
}

#[tokio::test]
async fn admission_and_refusals_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = recorded(dir.path()).await;
    let labels = json!({"pod-security.kubernetes.io/audit": "baseline"});
    let namespace = json!({"metadata": {"name": "default", "labels": labels}});
    cluster.put("/api/v1/namespaces/default", namespace).await.ok();
    let pod =
        json!({"metadata": {"name": "a"}, "spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "a"}]}});
    cluster.post("/api/v1/namespaces/default/pods", pod).await.ok();
    let request = Request::get(CONFIG_MAPS).body(body::empty()).unwrap();
    assert_eq!(cluster.send_as(User::anonymous(), request).await.code, 403);
    let wrong = Request::get(CONFIG_MAPS).header("authorization", "Bearer wrong").body(body::empty()).unwrap();
    let response = cluster.server.serve(&Default::default(), wrong).await;
    assert_eq!(response.status(), 401);
    let lines = lines(&cluster, dir.path()).await;
    assert_eq!(
        lines[0]["annotations"],
        json!({
            "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "",
            "pod-security.kubernetes.io/enforce-policy": "privileged:latest",
            "pod-security.kubernetes.io/audit-violations":
                "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)",
        })
    );
    assert_eq!(lines[1]["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(
        (&lines[1]["responseStatus"]["code"], &lines[1]["user"]["username"]),
        (&json!(403), &json!("system:anonymous"))
    );
    assert_eq!((&lines[2]["stage"], &lines[2]["user"]), (&json!("ResponseStarted"), &json!({})));
    assert_eq!(lines[2]["responseStatus"]["message"], "Authentication failed, attempted: bearer");
}
