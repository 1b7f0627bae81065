//! The node authorizer's answers, case by case.

use serde_json::json;

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::{Change, Durability, Expect, Write};

async fn put(store: &MemoryStore, key: &str, object: serde_json::Value) {
    let change = Change::Put(Box::new(move |_| object.to_string().into()));
    let write = Write { key: key.into(), expect: Expect::Absent, change, durability: Durability::Durable };
    store.write(write).await.unwrap();
}

/// `verb group/resource[/subresource] [namespace/name] [?selector]`.
fn request(text: &str) -> RequestInfo {
    let mut words = text.split(' ');
    let verb = words.next().unwrap().to_owned();
    let what: Vec<&str> = words.next().unwrap().split('/').collect();
    let (mut namespace, mut name, mut selector) = ("", "", "");
    for word in words {
        match word.strip_prefix('?') {
            Some(text) => selector = text,
            None => (namespace, name) = word.split_once('/').unwrap(),
        }
    }
    let parsed = FieldSelector::parse(selector).unwrap();
    RequestInfo {
        is_resource: true,
        verb,
        group: what[0].to_owned(),
        resource: what[1].to_owned(),
        subresource: what.get(2).unwrap_or(&"").to_string(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        selected: parsed.exact("metadata.name").unwrap_or_default().to_owned(),
        field_selector: selector.to_owned(),
        ..RequestInfo::default()
    }
}

async fn world() -> NodeAuthorizer {
    let store = MemoryStore::new();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "serviceAccountName": "bot", "containers": [],
        "volumes": [{"name": "s", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "c"}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}});
    put(&store, "/registry/core/pods/a/p", pod).await;
    // A mirror pod gives nothing: its node made it.
    let pod = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {
        "nodeName": "n1", "containers": [], "volumes": [{"name": "s", "secret": {"secretName": "mirrored"}}]}});
    put(&store, "/registry/core/pods/a/m", pod).await;
    let claim = json!({"namespace": "a", "name": "data"});
    let volume = json!({"metadata": {}, "spec": {"claimRef": claim}});
    put(&store, "/registry/core/persistentvolumes/v", volume).await;
    NodeAuthorizer::new(store)
}

#[tokio::test]
async fn a_node_reads_what_its_pods_use_and_writes_what_is_its_own() {
    let authorizer = world().await;
    let none = "no relationship found between node 'n1' and this object";
    let cases = [
        ("get /secrets a/s", Ok(())),
        ("get /secrets a/other", Err(none)),
        ("get /secrets a/mirrored", Err(none)),
        ("get /secrets b/s", Err(none)),
        ("list /secrets a/ ?metadata.name=s", Ok(())),
        ("watch /configmaps a/ ?metadata.name=c", Ok(())),
        ("list /secrets a/", Err("No Object name found")),
        ("list /secrets", Err("can only read namespaced object of this type")),
        ("update /secrets a/s", Err("can only read resources of this type")),
        ("get /persistentvolumeclaims a/data", Ok(())),
        ("list /persistentvolumeclaims a/", Err("can only get individual resources of this type")),
        ("patch /persistentvolumeclaims/status a/data", Ok(())),
        ("delete /persistentvolumeclaims/status a/data", Err("can only get/update/patch this type")),
        ("get /persistentvolumes /v", Ok(())),
        ("create /serviceaccounts/token a/bot", Ok(())),
        ("create /serviceaccounts/token a/default", Err(none)),
        ("delete /serviceaccounts a/bot", Err("can only create tokens for individual service accounts")),
        ("create /serviceaccounts a/bot", Err("can only create token subresource of serviceaccount")),
        ("get /nodes /n1", Ok(())),
        ("watch /nodes ?metadata.name=n1", Ok(())),
        ("get /nodes /n2", Err("node 'n1' cannot read 'n2', only its own Node object")),
        ("list /nodes", Err("node 'n1' cannot read all nodes, only its own Node object")),
        ("create /nodes", Ok(())),
        ("patch /nodes/status /n2", Ok(())),
        ("delete /nodes /n1", Err("")),
        ("list /pods ?spec.nodeName=n1", Ok(())),
        ("watch /pods ?spec.nodeName=n1,status.phase!=Failed", Ok(())),
        ("list /pods ?spec.nodeName=n2", Err("can only list/watch pods with spec.nodeName field selector")),
        ("list /pods ?spec.nodeName!=n1", Err("can only list/watch pods with spec.nodeName field selector")),
        ("list /pods a/", Err("can only list/watch pods with spec.nodeName field selector")),
        ("get /pods a/p", Ok(())),
        ("get /pods a/q", Err(none)),
        ("create /pods/eviction a/p", Ok(())),
        ("update /pods a/p", Err("")),
        ("create /pods/binding a/p", Err("")),
        ("update coordination.k8s.io/leases kube-node-lease/n1", Ok(())),
        (
            "update coordination.k8s.io/leases kube-node-lease/n2",
            Err("can only access node lease with the same name as the requesting node"),
        ),
        (
            "get coordination.k8s.io/leases kube-system/n1",
            Err("can only access leases in the \"kube-node-lease\" system namespace"),
        ),
        (
            "list coordination.k8s.io/leases kube-node-lease/",
            Err("can only get, create, update, patch, or delete a node lease"),
        ),
        ("create storage.k8s.io/csinodes", Ok(())),
        ("get storage.k8s.io/csinodes /n2", Err("can only access CSINode with the same name as the requesting node")),
        ("list resource.k8s.io/resourceslices ?spec.nodeName=n1", Ok(())),
        (
            "list resource.k8s.io/resourceslices",
            Err("can only list/watch/deletecollection resourceslices with nodeName field selector"),
        ),
        ("list /services", Ok(())),
        ("create /events a/", Ok(())),
        ("list node.k8s.io/runtimeclasses", Ok(())),
        ("create authentication.k8s.io/tokenreviews", Ok(())),
        ("list /namespaces", Err("")),
        ("list discovery.k8s.io/endpointslices", Err("")),
        ("create rbac.authorization.k8s.io/clusterrolebindings", Err("")),
    ];
    let node = User::node("n1");
    for (text, expected) in cases {
        let expected = match expected {
            Ok(()) => Decision::Allow(String::new()),
            Err(reason) => Decision::Deny(reason.to_owned()),
        };
        assert_eq!(authorizer.authorize(&node, &request(text)).await, expected, "{text}");
    }
}

#[tokio::test]
async fn only_nodes_have_an_opinion_about_them() {
    let authorizer = world().await;
    let ask = request("get /secrets a/s");
    let other = User::new("system:node:n1", &[]);
    assert_eq!(authorizer.authorize(&other, &ask).await, Decision::Deny(String::new()));
    let grouped = User::new("root", &["system:nodes"]);
    assert_eq!(authorizer.authorize(&grouped, &ask).await, Decision::Deny(String::new()));
    let nameless = User::node("");
    let unknown = Decision::Deny("unknown node for user \"system:node:\"".to_owned());
    assert_eq!(authorizer.authorize(&nameless, &ask).await, unknown);
    let granted = authorizer.rules_for(&User::node("n1"), "a").await;
    assert!(granted.incomplete && granted.rules.is_empty());
}

#[tokio::test]
async fn a_node_may_open_its_tunnel() {
    let authorizer = world().await;
    let ask =
        |verb: &str| RequestInfo { verb: verb.to_owned(), path: tunnel::PATH.to_owned(), ..RequestInfo::default() };
    let denied = Decision::Deny(String::new());
    assert_eq!(authorizer.authorize(&User::node("n1"), &ask("get")).await, Decision::Allow(String::new()));
    assert_eq!(authorizer.authorize(&User::node("n1"), &ask("post")).await, denied);
    assert_eq!(authorizer.authorize(&User::new("system:node:n1", &[]), &ask("get")).await, denied);
}
