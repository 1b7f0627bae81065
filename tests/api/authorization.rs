//! Who may do what: roles and bindings, the defaults that every cluster has, and what nodes may do.

use http::Method;
use orch::server::authorization::policy;
use orch::server::http::authn::User;
use serde_json::{Value, json};

use crate::cluster::{Cluster, config_map};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Binds a ClusterRole to a user: everywhere, or in a namespace.
async fn bind(cluster: &Cluster, namespace: &str, role: &str, user: &str) {
    let path = match namespace {
        "" => format!("{RBAC}/clusterrolebindings"),
        namespace => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
    };
    let binding = json!({
        "metadata": {"name": format!("{user}-{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user}],
    });
    cluster.post(&path, binding).await.ok();
}

#[tokio::test]
async fn a_role_allows_what_it_says_from_the_moment_it_is_bound() {
    let cluster = Cluster::new().await;
    let role = json!({"metadata": {"name": "keeper"}, "rules": [
        {"verbs": ["get", "list", "create"], "apiGroups": [""], "resources": ["configmaps"]},
        {"verbs": ["delete"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"]},
        {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
    ]});
    cluster.post(&format!("{RBAC}/clusterroles"), role).await.ok();
    let user = User::new("kim", &[]);
    let here = "/api/v1/namespaces/default/configmaps";
    let denied = |verb: &str, name: &str| {
        format!(
            "Forbidden: configmaps{name} is forbidden: User \"kim\" cannot {verb} resource \"configmaps\" in API group \"\" in the namespace \"default\""
        )
    };
    let reply = cluster.ask(&user, Method::GET, here, Value::Null).await;
    assert_eq!((reply.code, reply.said()), (403, denied("list", "")));
    bind(&cluster, "default", "keeper", "kim").await;
    cluster.ask(&user, Method::GET, here, Value::Null).await.ok();
    cluster.ask(&user, Method::POST, here, config_map("mine")).await.ok();
    cluster.ask(&user, Method::POST, here, config_map("other")).await.ok();
    let refused =
        [(Method::PUT, "other", "update"), (Method::PATCH, "other", "patch"), (Method::DELETE, "other", "delete")];
    for (method, name, verb) in refused {
        let reply = cluster.ask(&user, method, &format!("{here}/{name}"), json!({})).await;
        assert_eq!(reply.said(), denied(verb, &format!(" \"{name}\"")));
    }
    let reply = cluster.ask(&user, Method::DELETE, here, Value::Null).await;
    assert_eq!(reply.said(), denied("deletecollection", ""));
    let reply = cluster.ask(&user, Method::GET, &format!("{here}?watch=1"), Value::Null).await;
    assert_eq!(reply.said(), denied("watch", ""));
    cluster.ask(&user, Method::DELETE, &format!("{here}/mine"), Value::Null).await.ok();
    // Of a RoleBinding, only what is in the namespace; paths are nobody's there.
    let reply = cluster.ask(&user, Method::GET, "/api/v1/configmaps", Value::Null).await;
    let text = "configmaps is forbidden: User \"kim\" cannot list resource \"configmaps\" in API group \"\" at the cluster scope";
    assert_eq!(reply.said(), format!("Forbidden: {text}"));
    let reply = cluster.ask(&user, Method::GET, "/metrics", Value::Null).await;
    assert_eq!(reply.said(), "Forbidden: forbidden: User \"kim\" cannot get path \"/metrics\"");
    bind(&cluster, "", "keeper", "kim").await;
    cluster.ask(&user, Method::GET, "/api/v1/configmaps", Value::Null).await.ok();
    assert_eq!(cluster.ask(&user, Method::GET, "/metrics", Value::Null).await.code, 200);
    // The role goes: what is bound to it says so.
    cluster.delete(&format!("{RBAC}/clusterroles/keeper"), Value::Null).await.ok();
    let reply = cluster.ask(&user, Method::GET, "/api/v1/configmaps", Value::Null).await;
    let lost = "RBAC: clusterrole.rbac.authorization.k8s.io \"keeper\" not found";
    assert_eq!(reply.said(), format!("Forbidden: {text}: {lost}"));
}

#[tokio::test]
async fn a_selector_for_one_name_is_allowed_as_that_name() {
    let cluster = Cluster::new().await;
    let role = json!({"metadata": {"name": "one"}, "rules": [
        {"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]},
    ]});
    cluster.post(&format!("{RBAC}/clusterroles"), role).await.ok();
    bind(&cluster, "default", "one", "kim").await;
    let user = User::new("kim", &[]);
    for (selector, code) in [("metadata.name=a", 200), ("metadata.name=b", 403), ("metadata.name!=a", 403)] {
        let path = format!("/api/v1/namespaces/default/configmaps?fieldSelector={selector}");
        assert_eq!(cluster.ask(&user, Method::GET, &path, Value::Null).await.code, code, "{selector}");
    }
}

#[tokio::test]
async fn the_default_roles_are_there_and_come_back() {
    let cluster = Cluster::with_roles().await;
    let pipeline = cluster.server.pipeline();
    let before = pipeline.store().revision();
    assert_eq!(policy::ensure(pipeline).await.unwrap(), 0, "nothing differs");
    assert_eq!(pipeline.store().revision(), before);
    cluster.delete(&format!("{RBAC}/clusterroles/system:kube-dns"), Value::Null).await.ok();
    let path = format!("{RBAC}/clusterrolebindings/system:discovery");
    let mut binding = cluster.get(&path).await.ok();
    binding["subjects"] = json!([{"kind": "User", "name": "guest", "apiGroup": "rbac.authorization.k8s.io"}]);
    cluster.put(&path, binding).await.ok();
    let protected = format!("{RBAC}/clusterroles/system:heapster");
    let mut role = cluster.get(&protected).await.ok();
    role["rules"] = json!([]);
    role["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = json!("false");
    cluster.put(&protected, role).await.ok();
    assert_eq!(policy::ensure(pipeline).await.unwrap(), 2);
    cluster.get(&format!("{RBAC}/clusterroles/system:kube-dns")).await.ok();
    let binding = cluster.get(&path).await.ok();
    let names: Vec<_> = binding["subjects"].as_array().unwrap().iter().map(|subject| &subject["name"]).collect();
    assert_eq!(names, ["guest", "system:authenticated"]);
    assert_eq!(cluster.get(&protected).await.ok()["rules"], json!([]));
}

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

#[tokio::test]
async fn access_reviews_answer_for_others() {
    let cluster = Cluster::with_roles().await;
    bind(&cluster, "default", "view", "vera").await;
    cluster.grant("get pods", "User", "jane").await;
    cluster.grant("get path /metrics", "Group", "graphs").await;
    let lost = json!({"metadata": {"name": "lost"}, "subjects": [{"kind": "User", "name": "lou"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "gone"}});
    cluster.post(&format!("{RBAC}/clusterrolebindings"), lost).await.ok();
    let pods = |verb: &str| json!({"verb": verb, "resource": "pods", "namespace": "default"});
    let metrics = json!({"verb": "get", "path": "/metrics"});
    let raw = |text: &str| json!({"verb": "get", "resource": "pods", "fieldSelector": {"rawSelector": text}});
    let by_jane = "RBAC: allowed by ClusterRoleBinding \"of-jane\" of ClusterRole \"of-jane\" to User \"jane\"";
    let by_graphs =
        "RBAC: allowed by ClusterRoleBinding \"of-graphs\" of ClusterRole \"of-graphs\" to Group \"graphs\"";
    let ignored = "spec.resourceAttributes.fieldSelector ignored due to parse error";
    let cases = [
        (json!({"user": "jane", "resourceAttributes": pods("get")}), true, json!(by_jane), Value::Null),
        (json!({"user": "jane", "resourceAttributes": pods("list")}), false, Value::Null, Value::Null),
        (json!({"groups": ["graphs"], "nonResourceAttributes": metrics}), true, json!(by_graphs), Value::Null),
        (json!({"user": "jane", "resourceAttributes": raw("a in b")}), true, json!(by_jane), json!(ignored)),
        (json!({"user": "jane", "resourceAttributes": raw("a=b")}), true, json!(by_jane), Value::Null),
        (json!({"groups": ["system:masters"], "resourceAttributes": pods("eat")}), true, Value::Null, Value::Null),
        (
            json!({"user": "lou", "resourceAttributes": pods("get")}),
            false,
            json!("RBAC: clusterrole.rbac.authorization.k8s.io \"gone\" not found"),
            Value::Null,
        ),
    ];
    for (spec, allowed, reason, error) in cases {
        let review = json!({"spec": spec});
        let status =
            cluster.post(&format!("{REVIEWS}/subjectaccessreviews"), review.clone()).await.ok()["status"].clone();
        let told = (&status["allowed"], &status["reason"], &status["evaluationError"]);
        assert_eq!(told, (&json!(allowed), &reason, &error), "{spec}");
        if spec["resourceAttributes"]["namespace"] == "default" {
            let path = format!("{REVIEWS}/namespaces/default/localsubjectaccessreviews");
            assert_eq!(cluster.post(&path, review).await.ok()["status"], status);
        }
    }
}

#[tokio::test]
async fn reviews_that_make_no_sense_are_refused() {
    let cluster = Cluster::new().await;
    let all = format!("{REVIEWS}/subjectaccessreviews");
    let local = format!("{REVIEWS}/namespaces/default/localsubjectaccessreviews");
    let own = format!("{REVIEWS}/selfsubjectaccessreviews");
    let pods = json!({"verb": "get", "resource": "pods"});
    let one_of = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    let both = json!({"resourceAttributes": pods, "nonResourceAttributes": {"verb": "get", "path": "/"}});
    let empty = json!({"verb": "get", "resource": "pods", "fieldSelector": {}});
    let keyless =
        json!({"verb": "get", "resource": "pods", "labelSelector": {"requirements": [{"key": "", "operator": "In"}]}});
    let cases = [
        (&own, json!({"spec": {}}), one_of),
        (&all, json!({"spec": {"user": "u"}}), one_of),
        (&own, json!({"spec": both}), "spec.nonResourceAttributes: Invalid value: "),
        (
            &all,
            json!({"spec": {"resourceAttributes": pods}}),
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ),
        (&own, json!({"metadata": {"name": "x"}, "spec": {"resourceAttributes": pods}}), "metadata: Invalid value: "),
        (
            &local,
            json!({"spec": {"user": "u", "resourceAttributes": pods}}),
            "spec.resourceAttributes.namespace: Invalid value: \"\": must match metadata.namespace",
        ),
        (
            &own,
            json!({"spec": {"resourceAttributes": empty}}),
            "spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required",
        ),
        (
            &own,
            json!({"spec": {"resourceAttributes": keyless}}),
            "[spec.resourceAttributes.labelSelector.requirements[0].key: Required value: must be specified, spec.resourceAttributes.labelSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn']",
        ),
    ];
    for (path, review, expected) in cases {
        let reply = cluster.post(path, review.clone()).await;
        assert_eq!(reply.code, 422, "{review}: {}", reply.text);
        let said = reply.said();
        assert!(said.starts_with(&format!("Invalid: .authorization.k8s.io \"\" is invalid: {expected}")), "{said}");
    }
    let reply = cluster.post(&format!("{REVIEWS}/selfsubjectrulesreviews"), json!({"spec": {}})).await;
    assert_eq!(reply.said(), "BadRequest: no namespace on request");
}

#[tokio::test]
async fn one_is_told_what_one_may() {
    let cluster = Cluster::with_roles().await;
    cluster.grant_in("default", "get,list pods named a", "User", "kim").await;
    let kim = User::new("kim", &[]);
    let ask = async |user: &User, namespace: &str| {
        let review = json!({"spec": {"namespace": namespace}});
        let path = format!("{REVIEWS}/selfsubjectrulesreviews");
        cluster.ask(user, Method::POST, &path, review).await.ok()["status"].clone()
    };
    let pods = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
    let has = |status: &Value, rule: &Value| status["resourceRules"].as_array().unwrap().contains(rule);
    let here = ask(&kim, "default").await;
    assert!(has(&here, &pods) && here["incomplete"] == false, "{here}");
    let urls = &here["nonResourceRules"][0]["nonResourceURLs"];
    assert!(urls.as_array().unwrap().contains(&json!("/healthz")), "{urls}");
    assert!(!has(&ask(&kim, "kube-system").await, &pods));
    let node = ask(&User::node("n1"), "default").await;
    assert_eq!(node["incomplete"], true);
    assert_eq!(node["evaluationError"], "node authorizer does not support user rule resolution");
    let review = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    let path = format!("{REVIEWS}/selfsubjectaccessreviews");
    let status = cluster.ask(&kim, Method::POST, &path, review).await.ok()["status"].clone();
    assert_eq!(status, json!({"allowed": false}));
}
