//! The audit log, line by line and field by field.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use orch::api::status::Result;
use orch::server::http::audit::{Audit, Log, LogOptions, Mode, Policy};
use orch::server::http::authn::User;
use orch::server::http::endpoint::{Endpoint, Endpoints};
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
    let endpoints: Endpoints = [("/orch/broken", Arc::new(Broken) as Arc<dyn Endpoint>)].into();
    let audit = Some(audit(POLICY, Mode::Blocking, &dir.join("audit.log")));
    let config = ApiServerConfig { audit, endpoints, ..ApiServerConfig::default() };
    Cluster::over(ApiServer::new(config, MemoryStore::new())).await
}

fn audit(policy: &str, mode: Mode, path: &Path) -> Audit {
    let options = LogOptions { mode, buffer: 1, path: path.to_owned(), max_size: 0, max_backups: 0, max_age: 0 };
    Audit::new(Policy::parse(policy).unwrap(), Log::open(options).unwrap())
}

/// A handler with a fault.
struct Broken;

#[async_trait]
impl Endpoint for Broken {
    async fn serve(&self, _: &http::Method, _: Bytes) -> Result<Value> {
        panic!("it broke")
    }
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

#[tokio::test]
async fn a_panic_is_recorded_and_answered() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = recorded(dir.path()).await;
    let reply = cluster.post("/orch/broken", json!({})).await;
    let said = "This request caused apiserver to panic. Look in the logs for details.\n";
    assert_eq!((reply.code, reply.text.as_str()), (500, said));
    cluster.get(CONFIG_MAPS).await.ok();
    let lines = lines(&cluster, dir.path()).await;
    assert_eq!((&lines[0]["stage"], &lines[1]["stage"]), (&json!("Panic"), &json!("ResponseComplete")));
    let status = json!({"metadata": {}, "status": "Failure", "message": "APIServer panic'd: it broke",
        "reason": "InternalError", "code": 500});
    assert_eq!(lines[0]["responseStatus"], status);
}

/// `/dev/full` takes nothing: only the strict mode minds, and only about the first stage.
#[tokio::test]
async fn nothing_happens_unrecorded_in_strict_mode() {
    let everything = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}";
    let later =
        "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}], omitStages: [RequestReceived]}";
    for (mode, policy, code) in [
        (Mode::Batch, everything, 200),
        (Mode::Blocking, everything, 200),
        (Mode::BlockingStrict, later, 200),
        (Mode::BlockingStrict, everything, 500),
    ] {
        let audit = Some(audit(policy, mode, Path::new("/dev/full")));
        let cluster = Cluster {
            server: ApiServer::new(ApiServerConfig { audit, ..ApiServerConfig::default() }, MemoryStore::new()),
        };
        let reply = cluster.get(CONFIG_MAPS).await;
        assert_eq!(reply.code, code, "{mode:?}: {}", reply.text);
        if code == 500 {
            let why = format!("Internal Server Error: \"{CONFIG_MAPS}\": failed to store audit event\n");
            assert_eq!(reply.text, why);
        }
    }
}
