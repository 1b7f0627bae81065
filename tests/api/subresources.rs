//! Subresources with a mind of their own, and reviews.

use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}})
}

async fn bind(cluster: &Cluster, name: &str) -> crate::cluster::Reply {
    let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
    cluster.post(&format!("{PODS}/{name}/binding"), binding).await
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("a")).await.ok();
    let reply = bind(&cluster, "a").await;
    assert_eq!((reply.code, &reply.json()["status"]), (201, &json!("Success")));
    let bound = cluster.get(&format!("{PODS}/a")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let again = bind(&cluster, "a").await;
    assert_eq!(
        (again.code, again.said().as_str()),
        (
            409,
            "Conflict: Operation cannot be fulfilled on pods/binding \"a\": pod a is already assigned to node \"n1\""
        )
    );
    assert_eq!(bind(&cluster, "none").await.code, 404);
    let targetless = cluster.post(&format!("{PODS}/a/binding"), json!({"target": {}})).await;
    assert_eq!(targetless.code, 422);
}

#[tokio::test]
async fn pods_are_given_time_to_end() {
    let cluster = Cluster::new().await;
    let path = format!("{PODS}/a");
    cluster.post(PODS, pod("a")).await.ok();
    bind(&cluster, "a").await.ok();
    let marked = cluster.delete(&path, Value::Null).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let shorter = cluster.delete(&path, json!({"gracePeriodSeconds": 5})).await.ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    assert!(shorter["metadata"]["deletionTimestamp"].as_str() < marked["metadata"]["deletionTimestamp"].as_str());
    let longer = cluster.delete(&path, json!({"gracePeriodSeconds": 50})).await.ok();
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    cluster.delete(&path, json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(cluster.get(&path).await.code, 404);
    // One that no node has yet ends at once.
    cluster.post(PODS, pod("b")).await.ok();
    cluster.delete(&format!("{PODS}/b"), Value::Null).await.ok();
    assert_eq!(cluster.get(&format!("{PODS}/b")).await.code, 404);
}

#[tokio::test]
async fn an_eviction_asks_the_budget() {
    let cluster = Cluster::new().await;
    cluster.post(PODS, pod("a")).await.ok();
    bind(&cluster, "a").await.ok();
    let mut running = cluster.get(&format!("{PODS}/a")).await.ok();
    running["status"]["phase"] = json!("Running");
    running["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    cluster.put(&format!("{PODS}/a/status"), running).await.ok();
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    let mut budget = cluster.post(budgets, budget).await.ok();
    let eviction = json!({"metadata": {"name": "a"}});
    let path = format!("{PODS}/a/eviction");
    let unseen = cluster.post(&path, eviction.clone()).await;
    assert_eq!((unseen.code, &unseen.json()["details"]["causes"][0]["reason"]), (429, &json!("DisruptionBudget")));
    assert_eq!(unseen.headers["retry-after"], "10");
    budget["status"] = json!({"observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 1, "currentHealthy": 1, "expectedPods": 1});
    let mut budget = cluster.put(&format!("{budgets}/b/status"), budget).await.ok();
    let none = cluster.post(&path, eviction.clone()).await;
    assert_eq!(none.code, 429);
    assert_eq!(
        none.json()["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    );
    budget["status"]["disruptionsAllowed"] = json!(1);
    cluster.put(&format!("{budgets}/b/status"), budget).await.ok();
    assert_eq!(cluster.post(&path, eviction).await.code, 201);
    let budget = cluster.get(&format!("{budgets}/b")).await.ok();
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["a"].is_string());
    assert!(cluster.get(&format!("{PODS}/a")).await.ok()["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let cluster = Cluster::new().await;
    cluster.post("/api/v1/namespaces", json!({"metadata": {"name": "n"}})).await.ok();
    let mut namespace = cluster.delete("/api/v1/namespaces/n", Value::Null).await.ok();
    namespace["spec"]["finalizers"] = json!([]);
    cluster.put("/api/v1/namespaces/n/finalize", namespace).await.ok();
    assert_eq!(cluster.get("/api/v1/namespaces/n").await.code, 404);
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let cluster = Cluster::new().await;
    for name in ["a", "b", "c"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"keep": (name == "b").to_string()});
        cluster.post(CONFIG_MAPS, object).await.ok();
    }
    cluster.delete(&format!("{CONFIG_MAPS}?labelSelector=keep%3Dfalse"), Value::Null).await.ok();
    let left = cluster.get(CONFIG_MAPS).await.ok();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn reviews_answer_and_leave_nothing_behind() {
    let cluster = Cluster::new().await;
    cluster.grant("get pods", "User", "jane").await;
    let before = cluster.server.pipeline().store().revision();
    let who = cluster.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.ok();
    assert_eq!(who["status"]["userInfo"]["username"], "system:admin");
    let access = json!({"spec": {"user": "jane", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = cluster.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", access).await.ok();
    assert_eq!(answer["status"]["allowed"], true);
    let access =
        json!({"spec": {"user": "system:anonymous", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let answer = cluster.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", access).await.ok();
    assert_eq!(answer["status"]["allowed"], false);
    // As `kubectl auth can-i` asks.
    let attributes = json!({"namespace": "default", "verb": "create", "group": "apps", "resource": "deployments"});
    let ask = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": null}, "spec": {"resourceAttributes": attributes},
        "status": {"allowed": false},
    });
    let answer = cluster.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ask).await.ok();
    assert_eq!((&answer["kind"], &answer["status"]["allowed"]), (&json!("SelfSubjectAccessReview"), &json!(true)));
    let path = json!({"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}});
    let answer = cluster.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", path).await.ok();
    assert_eq!(answer["status"]["allowed"], true);
    // As `kubectl auth can-i --list` asks.
    let rules = json!({"spec": {"namespace": "default"}});
    let answer = cluster.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await.ok();
    assert_eq!(answer["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    assert_eq!(cluster.server.pipeline().store().revision(), before);
    assert_eq!(cluster.get("/apis/authentication.k8s.io/v1/tokenreviews").await.code, 405);
}

#[tokio::test]
async fn nobody_gets_in_unauthenticated() {
    use http::Request;
    use orch::server::http::authn::User;
    use orch::server::http::body;
    let cluster = Cluster::with_roles().await;
    for (path, code) in [
        ("/healthz", 200),
        ("/readyz?verbose", 200),
        ("/livez/ping", 403),
        ("/version", 200),
        ("/api", 403),
        ("/apis/apps/v1", 403),
        ("/api/v1/pods", 403),
        ("/metrics", 403),
        ("/", 403),
    ] {
        let request = Request::get(path).body(body::empty()).unwrap();
        let reply = cluster.send_as(User::anonymous(), request).await;
        assert_eq!(reply.code, code, "{path}: {}", reply.text);
    }
    let request = Request::get("/api/v1/namespaces/x/pods").body(body::empty()).unwrap();
    let reply = cluster.send_as(User::anonymous(), request).await;
    assert_eq!(
        reply.said(),
        "Forbidden: pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"x\""
    );
}
