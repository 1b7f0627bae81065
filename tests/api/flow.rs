//! Many at once: each level runs as many as it may, and sends the rest away with upstream's 429.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use orch::api::status::Result;
use orch::server::http::authn::User;
use orch::server::http::body::{self, Body};
use orch::server::http::{ApiServer, ApiServerConfig};
use orch::server::subresource::{Call, Handler, Subresources};
use orch::store::memory::MemoryStore;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::cluster::{Cluster, Reply};

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

/// Answers when it is let go.
struct Slow(Arc<Semaphore>);

#[async_trait]
impl Handler for Slow {
    async fn serve(&self, _: Call) -> Result<Response<Body>> {
        self.0.acquire().await.unwrap().forget();
        Ok(Response::new(body::empty()))
    }
}

/// A level with one seat and one place to wait, for alice; and what holds requests up.
async fn cluster() -> (Arc<Cluster>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let mut subresources = Subresources::standard(None);
    subresources.add("", "componentstatuses", "", Arc::new(Slow(gate.clone())));
    let config = ApiServerConfig { subresources, inflight: 1, ..ApiServerConfig::default() };
    let cluster = Cluster::over(ApiServer::new(config, MemoryStore::new())).await;
    let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 1});
    let limited = json!({"nominalConcurrencyShares": 1, "limitResponse": {"type": "Queue", "queuing": queuing}});
    let level = json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": limited}});
    cluster.post(&format!("{GROUP}/prioritylevelconfigurations"), level).await.ok();
    let rule =
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]});
    let rules = json!([{"subjects": [{"kind": "User", "user": {"name": "alice"}}], "resourceRules": [rule]}]);
    let schema = json!({"metadata": {"name": "alice"}, "spec": {
        "priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 5, "rules": rules}});
    cluster.post(&format!("{GROUP}/flowschemas"), schema).await.ok();
    (Arc::new(cluster), gate)
}

/// As from the network.
async fn asks(cluster: &Cluster, user: &str, path: &str) -> Reply {
    let mut request = Request::get(path).body(body::empty()).unwrap();
    request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 1)));
    cluster.send_as(User::new(user, &["system:masters"]), request).await
}

async fn uid(cluster: &Cluster, path: &str) -> Value {
    cluster.get(&format!("{GROUP}/{path}")).await.ok()["metadata"]["uid"].clone()
}

/// Waits until the server counts so many that run and that wait.
async fn load(cluster: &Cluster, running: usize, waiting: usize) {
    let wanted = [
        format!(
            "apiserver_flowcontrol_current_executing_requests{{priority_level=\"narrow\",flow_schema=\"alice\"}} {running}"
        ),
        format!(
            "apiserver_flowcontrol_current_inqueue_requests{{priority_level=\"narrow\",flow_schema=\"alice\"}} {waiting}"
        ),
    ];
    let seen = async {
        loop {
            let text = cluster.get("/metrics").await.text;
            if wanted.iter().all(|line| text.lines().any(|found| found == line)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), seen).await.expect("that many requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_level_sends_away_and_others_go_on() {
    let (cluster, gate) = cluster().await;
    let slow = "/api/v1/componentstatuses";
    let ask = || {
        let cluster = cluster.clone();
        tokio::spawn(async move { asks(&cluster, "alice", slow).await })
    };
    let first = ask();
    load(&cluster, 1, 0).await;
    let second = ask();
    load(&cluster, 1, 1).await;
    let refused = asks(&cluster, "alice", "/api/v1/nodes").await;
    assert_eq!((refused.code, refused.text.as_str()), (429, "Too many requests, please try again later.\n"));
    assert_eq!(refused.headers["retry-after"], "1");
    let level = uid(&cluster, "prioritylevelconfigurations/narrow").await;
    let schema = uid(&cluster, "flowschemas/alice").await;
    assert_eq!(refused.headers["x-kubernetes-pf-prioritylevel-uid"], level.as_str().unwrap());
    // A watch has to begin first; others are not held up.
    assert_eq!(asks(&cluster, "alice", "/api/v1/nodes?watch=1&timeoutSeconds=1").await.code, 429);
    assert_eq!(asks(&cluster, "bob", "/api/v1/nodes").await.code, 200);
    gate.add_permits(2);
    for reply in [first.await.unwrap(), second.await.unwrap()] {
        assert_eq!(
            (reply.code, &reply.headers["x-kubernetes-pf-flowschema-uid"]),
            (200, &schema.as_str().unwrap().parse::<http::HeaderValue>().unwrap())
        );
    }
    assert_eq!(asks(&cluster, "alice", "/api/v1/nodes").await.code, 200);
    // A change of the level holds at once.
    let mut open = cluster.get(&format!("{GROUP}/prioritylevelconfigurations/narrow")).await.ok();
    open["spec"]["limited"]["limitResponse"]["queuing"]["queueLengthLimit"] = json!(10);
    cluster.put(&format!("{GROUP}/prioritylevelconfigurations/narrow"), open).await.ok();
    let held: Vec<_> = (0..3).map(|_| ask()).collect();
    gate.add_permits(3);
    for reply in held {
        assert_eq!(reply.await.unwrap().code, 200);
    }
    let text = cluster.get("/metrics").await.text;
    let rejected = "apiserver_flowcontrol_rejected_requests_total{priority_level=\"narrow\",flow_schema=\"alice\",reason=\"queue-full\"} 2";
    assert!(text.lines().any(|line| line == rejected), "{text}");
    let terminated = "apiserver_request_terminations_total{verb=\"LIST\",group=\"\",version=\"v1\",resource=\"nodes\",subresource=\"\",scope=\"cluster\",component=\"apiserver\",code=\"429\"} 1";
    assert!(text.lines().any(|line| line == terminated), "{text}");
}
