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
