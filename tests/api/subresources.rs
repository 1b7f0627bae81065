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
    let cases = [
        (json!({"target": {"name": "n"}}), "BadRequest: name in URL does not match name in Binding object"),
        (
            json!({"metadata": {"name": "a"}, "target": {"kind": "Pod"}}),
            ": [target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: Required value]",
        ),
    ];
    for (binding, said) in cases {
        assert_eq!(cluster.post(&format!("{PODS}/a/binding"), binding).await.said(), said);
    }
    let other = json!({"metadata": {"name": "a", "uid": "x"}, "target": {"name": "n"}});
    let reply = cluster.post(&format!("{PODS}/a/binding"), other).await;
    assert!(reply.said().contains("AdditionalErrorMsg: Precondition failed: UID in precondition: x"), "{}", reply.text);
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
    assert_eq!(budget["status"]["conditions"][0]["reason"], "InsufficientPods");
    assert!(cluster.get(&format!("{PODS}/a")).await.ok()["metadata"]["deletionTimestamp"].is_string());
}

/// A pod that runs on a node; ready where `ready`.
async fn running(cluster: &Cluster, name: &str, ready: bool) {
    cluster.post(PODS, pod(name)).await.ok();
    bind(cluster, name).await.ok();
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}});
    let path = format!("{PODS}/{name}/status");
    cluster.call(http::Method::PATCH, &path, "application/merge-patch+json", status.to_string()).await.ok();
}

async fn budget(cluster: &Cluster, name: &str, spec: Value, status: Value) {
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let mut object = json!({"metadata": {"name": name}, "spec": spec});
    object["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
    let mut object = cluster.post(budgets, object).await.ok();
    object["status"] = status;
    cluster.put(&format!("{budgets}/{name}/status"), object).await.ok();
}

#[tokio::test]
async fn evictions_in_every_case() {
    let full = |allowed: i32, healthy: i32| json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 1, "currentHealthy": healthy, "expectedPods": 1});
    let none = json!({"minAvailable": 1});
    let always = json!({"minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"});
    // ready, spec, status → code
    let cases = [
        (true, &none, full(1, 1), 201),
        (true, &none, full(0, 1), 429),
        // Unready, but the others suffice; or they do not, and the policy decides.
        (false, &none, full(0, 1), 201),
        (false, &none, full(0, 0), 429),
        (false, &always, full(0, 0), 201),
    ];
    for (ready, spec, status, code) in cases {
        let cluster = Cluster::new().await;
        running(&cluster, "a", ready).await;
        budget(&cluster, "b", spec.clone(), status.clone()).await;
        let path = format!("{PODS}/a/eviction");
        let eviction = json!({"metadata": {"name": "a"}});
        let before = cluster.server.pipeline().store().revision();
        let dry = cluster.post(&format!("{path}?dryRun=All"), eviction.clone()).await;
        assert_eq!(dry.code, code, "{ready} {spec} {status}: {}", dry.text);
        assert_eq!(cluster.server.pipeline().store().revision(), before);
        let reply = cluster.post(&path, eviction).await;
        assert_eq!(reply.code, code, "{ready} {spec} {status}: {}", reply.text);
        let pod = cluster.get(&format!("{PODS}/a")).await.ok();
        assert_eq!(pod["metadata"]["deletionTimestamp"].is_string(), code == 201);
        let conditions = pod["status"]["conditions"].as_array().unwrap();
        let why = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget");
        assert_eq!(why.map(|why| why["reason"].as_str().unwrap()), (code == 201).then_some("EvictionByEvictionAPI"));
    }
}

#[tokio::test]
async fn evictions_that_no_budget_decides() {
    let cluster = Cluster::new().await;
    running(&cluster, "a", true).await;
    let path = format!("{PODS}/a/eviction");
    for name in ["b", "c"] {
        budget(&cluster, name, json!({"minAvailable": 0}), json!({"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 0, "currentHealthy": 1, "expectedPods": 1})).await;
    }
    let two = cluster.post(&path, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(
        (two.code, two.said().as_str()),
        (500, ": This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
    );
    let cases = [
        (json!({}), 400, "BadRequest: name in URL does not match name in Eviction object"),
        (
            json!({"metadata": {"name": "a"}, "deleteOptions": {"propagationPolicy": "X"}}),
            422,
            "Invalid: DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"X\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\"",
        ),
    ];
    for (eviction, code, said) in cases {
        let reply = cluster.post(&path, eviction).await;
        assert_eq!((reply.code, reply.said().as_str()), (code, said));
    }
    // A pod that has not begun disturbs nobody.
    cluster.post(PODS, pod("p")).await.ok();
    assert_eq!(cluster.post(&format!("{PODS}/p/eviction"), json!({"metadata": {"name": "p"}})).await.code, 201);
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.code, 404);
    let gone = cluster.post(&format!("{PODS}/p/eviction"), json!({"metadata": {"name": "p"}})).await;
    assert_eq!(gone.said(), "NotFound: pods \"p\" not found");
    let stale = json!({"metadata": {"name": "q"}, "deleteOptions": {"preconditions": {"resourceVersion": "1"}}});
    cluster.post(PODS, pod("q")).await.ok();
    assert_eq!(cluster.post(&format!("{PODS}/q/eviction"), stale).await.code, 409);
    let other = json!({"metadata": {"name": "q"}, "deleteOptions": {"preconditions": {"uid": "x"}}});
    let reply = cluster.post(&format!("{PODS}/q/eviction"), other).await;
    assert!(reply.code == 409 && reply.said().contains("the UID in the precondition (x)"), "{}", reply.text);
    // Old clients name the version that is no longer served.
    let old = json!({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "q"}});
    assert_eq!(cluster.post(&format!("{PODS}/q/eviction"), old).await.code, 201);
}

/// Every kind that can be scaled, in every way.
#[tokio::test]
async fn everything_scalable_scales() {
    let cluster = Cluster::new().await;
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["x", "y"]}]});
    let mut tiered = template.clone();
    tiered["metadata"]["labels"]["tier"] = "x".into();
    let kinds = [
        (
            "/api/v1/namespaces/default/replicationcontrollers",
            json!({"selector": {"app": "web"}, "template": template}),
            "app=web",
        ),
        (
            "/apis/apps/v1/namespaces/default/deployments",
            json!({"selector": selector, "template": tiered}),
            "app=web,tier in (x,y)",
        ),
        (
            "/apis/apps/v1/namespaces/default/replicasets",
            json!({"selector": selector, "template": tiered}),
            "app=web,tier in (x,y)",
        ),
        (
            "/apis/apps/v1/namespaces/default/statefulsets",
            json!({"selector": selector, "template": tiered, "serviceName": "s"}),
            "app=web,tier in (x,y)",
        ),
    ];
    for (collection, spec, selector) in kinds {
        cluster.post(collection, json!({"metadata": {"name": "s"}, "spec": spec})).await.ok();
        let path = format!("{collection}/s/scale");
        let scale = cluster.get(&path).await.ok();
        assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!(selector)));
        let mut two = scale.clone();
        two["spec"]["replicas"] = 2.into();
        let written = cluster.put(&path, two.clone()).await.ok();
        let object = cluster.get(&format!("{collection}/s")).await.ok();
        assert_eq!(
            (&object["spec"]["replicas"], &object["metadata"]["generation"]),
            (&json!(2), &json!(2)),
            "{collection}"
        );
        assert_eq!(written["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"]);
        let stale = cluster.put(&path, two).await;
        assert!(stale.said().contains("the object has been modified"), "{}", stale.text);
        for (media, body, replicas) in [
            ("merge-patch+json", json!({"spec": {"replicas": 3}}), 3),
            ("json-patch+json", json!([{"op": "replace", "path": "/spec/replicas", "value": 4}]), 4),
            ("strategic-merge-patch+json", json!({"spec": {"replicas": 5}}), 5),
            ("apply-patch+yaml", json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 6}}), 6),
        ] {
            let path = match media {
                "apply-patch+yaml" => format!("{path}?fieldManager=m&force=true"),
                _ => path.clone(),
            };
            let media = format!("application/{media}");
            let scale = cluster.call(http::Method::PATCH, &path, &media, body.to_string()).await.ok();
            assert_eq!(scale["spec"]["replicas"], replicas, "{collection} {media}");
        }
        assert_eq!(cluster.get(&format!("{collection}/s")).await.ok()["spec"]["replicas"], 6);
    }
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
    let cluster = Cluster::with_roles().await;
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
