//! A node's credential, tried against everything that the API serves; and attempts to rise by roles.

use http::Method;
use orch::server::authorization::{Decision, RequestInfo};
use orch::server::catalog::catalog;
use orch::server::http::authn::User;
use orch::server::strategy::Verb;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Reply, config_map};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const HERE: &str = "/api/v1/namespaces/default";

fn pod(name: &str, node: &str, secret: &str) -> Value {
    let volumes = json!([{"name": "s", "secret": {"secretName": secret}}]);
    json!({"metadata": {"name": name}, "spec": {
        "nodeName": node, "volumes": volumes, "containers": [{"name": "a", "image": "a"}],
    }})
}

/// Two nodes with a pod and a Secret each.
async fn two_nodes() -> Cluster {
    let cluster = Cluster::with_roles().await;
    for node in ["n1", "n2"] {
        cluster.ask(&User::node(node), Method::POST, "/api/v1/nodes", json!({"metadata": {"name": node}})).await.ok();
        let secret = json!({"metadata": {"name": format!("of-{node}")}});
        cluster.post(&format!("{HERE}/secrets"), secret).await.ok();
        let pod = pod(&format!("on-{node}"), node, &format!("of-{node}"));
        cluster.post(&format!("{HERE}/pods"), pod).await.ok();
    }
    cluster
}

#[tokio::test]
async fn a_stolen_credential_opens_only_its_own_node() {
    let cluster = two_nodes().await;
    let thief = User::node("n1");
    // What a node may list of everybody's: what every kubelet or service proxy watches.
    let open = [
        "certificatesigningrequests",
        "csidrivers",
        "endpoints",
        "endpointslices",
        "nodes",
        "runtimeclasses",
        "servicecidrs",
        "services",
    ];
    let mut tried = 0;
    for kind in catalog().kinds() {
        let meta = kind.meta();
        let root = if meta.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", meta.group) };
        let place = if meta.namespaced { "/namespaces/default" } else { "" };
        let path = format!("{root}/{}{place}/{}", meta.version, meta.plural);
        for (verb, method, suffix) in [
            (Verb::List, Method::GET, ""),
            (Verb::Watch, Method::GET, "?watch=1&timeoutSeconds=1"),
            (Verb::DeleteCollection, Method::DELETE, ""),
            (Verb::Update, Method::PUT, "/somebody"),
            (Verb::Delete, Method::DELETE, "/somebody"),
        ] {
            if !meta.verbs.contains(&verb) {
                continue;
            }
            let may = match verb {
                Verb::List | Verb::Watch => open.contains(&meta.plural),
                // The authorizer lets it, and NodeRestriction finds nothing or refuses.
                Verb::Update => matches!(meta.plural, "nodes" | "events"),
                Verb::Delete => meta.plural == "pods",
                _ => false,
            };
            if may {
                continue;
            }
            let reply = cluster.ask(&thief, method, &format!("{path}{suffix}"), Value::Null).await;
            assert_eq!(reply.code, 403, "{verb:?} {path}: {}", reply.text);
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
}

/// What a node's credential may do: upstream's `system:node`, the node authorizer and (for the agent's own service
/// proxy) `system:node-proxier`. The verbs for whatever object, and those for what is the node's own. NodeRestriction
/// looks at the objects besides.
const MAY: &[(&str, &str, &str)] = &[
    ("tokenreviews.authentication.k8s.io", "create", ""),
    ("selfsubjectreviews.authentication.k8s.io", "create", ""),
    ("subjectaccessreviews.authorization.k8s.io", "create", ""),
    ("localsubjectaccessreviews.authorization.k8s.io", "create", ""),
    ("selfsubjectaccessreviews.authorization.k8s.io", "create", ""),
    ("selfsubjectrulesreviews.authorization.k8s.io", "create", ""),
    ("services", "get list watch", ""),
    ("endpoints", "get list watch", ""),
    ("endpointslices.discovery.k8s.io", "list watch", ""),
    ("servicecidrs.networking.k8s.io", "list watch", ""),
    ("nodes", "get list watch create update patch", ""),
    ("nodes/status", "update patch", ""),
    ("events", "create update patch", ""),
    ("events.events.k8s.io", "create update patch", ""),
    ("pods", "create delete", "get"),
    ("pods/status", "update patch", ""),
    ("pods/eviction", "create", ""),
    ("configmaps", "", "get"),
    ("secrets", "", "get"),
    ("persistentvolumeclaims", "", "get"),
    ("persistentvolumeclaims/status", "", "update patch"),
    ("persistentvolumes", "", "get"),
    ("serviceaccounts", "", "get"),
    ("serviceaccounts/token", "", "create"),
    ("certificatesigningrequests.certificates.k8s.io", "create get list watch", ""),
    ("leases.coordination.k8s.io", "create", "get update patch delete"),
    ("csidrivers.storage.k8s.io", "get list watch", ""),
    ("csinodes.storage.k8s.io", "create", "get update patch delete"),
    ("volumeattachments.storage.k8s.io", "", "get"),
    ("runtimeclasses.node.k8s.io", "get list watch", ""),
    ("resourceclaims.resource.k8s.io", "", "get"),
    ("resourceslices.resource.k8s.io", "create", "get update patch delete"),
];

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Everything that belongs to a node is called like it: a pod, all that the pod names, and all that names the node.
async fn owning(cluster: &Cluster, node: &str) {
    let meta = json!({"name": node});
    let pod = json!({"metadata": meta, "spec": {
        "nodeName": node, "serviceAccountName": node, "automountServiceAccountToken": false,
        "containers": [{"name": "a", "image": "a"}],
        "resourceClaims": [{"name": "r", "resourceClaimName": node}],
        "volumes": [
            {"name": "s", "secret": {"secretName": node}}, {"name": "c", "configMap": {"name": node}},
            {"name": "p", "persistentVolumeClaim": {"claimName": node}},
        ],
    }});
    let volume = json!({"metadata": meta, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/a"},
        "claimRef": {"namespace": "default", "name": node},
    }});
    let attachment = json!({"metadata": meta, "spec": {
        "attacher": "a", "nodeName": node, "source": {"persistentVolumeName": node},
    }});
    let slice = json!({"metadata": meta, "spec": {
        "driver": "a.b", "nodeName": node, "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
    }});
    for (path, object) in [
        ("/api/v1/nodes", json!({"metadata": meta})),
        ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": meta})),
        ("/api/v1/namespaces/default/pods", pod),
        ("/api/v1/persistentvolumes", volume),
        ("/apis/storage.k8s.io/v1/volumeattachments", attachment),
        ("/apis/resource.k8s.io/v1/resourceslices", slice),
    ] {
        cluster.post(path, object).await.ok();
    }
}

#[tokio::test]
async fn a_stolen_node_credential_tried_against_every_resource() {
    let cluster = Cluster::with_roles().await;
    for node in ["a", "b"] {
        owning(&cluster, node).await;
    }
    let thief = User::node("a");
    let mut tried = 0;
    for kind in catalog().kinds() {
        let meta = kind.meta();
        for sub in std::iter::once("").chain(meta.subresources.iter().map(|sub| sub.name)) {
            let slash = if sub.is_empty() { "" } else { "/" };
            let dot = if meta.group.is_empty() { "" } else { "." };
            let resource = format!("{}{slash}{sub}{dot}{}", meta.plural, meta.group);
            let (_, any, own) = MAY.iter().find(|(known, ..)| *known == resource).unwrap_or(&("", "", ""));
            let namespace = match (meta.namespaced, meta.plural) {
                (false, _) => "",
                (true, "leases") => "kube-node-lease",
                (true, _) => "default",
            };
            for (verb, name) in VERBS.iter().flat_map(|verb| ["a", "b"].map(|name| (*verb, name))) {
                let of_all =
                    matches!(verb, "list" | "watch" | "deletecollection") || (verb == "create" && sub.is_empty());
                let request = RequestInfo {
                    is_resource: true,
                    verb: verb.to_owned(),
                    group: meta.group.to_owned(),
                    version: meta.version.to_owned(),
                    resource: meta.plural.to_owned(),
                    subresource: sub.to_owned(),
                    namespace: namespace.to_owned(),
                    name: if of_all { String::new() } else { name.to_owned() },
                    ..RequestInfo::default()
                };
                let has = |verbs: &str| verbs.split(' ').any(|known| known == verb);
                let wanted = has(any) || (has(own) && name == "a");
                let decision = cluster.server.decide(&thief, &request).await;
                let allowed = matches!(decision, Decision::Allow(_));
                assert_eq!(allowed, wanted, "{verb} {resource} {name}: {decision:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[tokio::test]
async fn a_node_lists_and_clears_its_own_slices() {
    let cluster = Cluster::with_roles().await;
    for node in ["a", "b"] {
        owning(&cluster, node).await;
    }
    let (node, slices) = (User::node("a"), "/apis/resource.k8s.io/v1/resourceslices");
    let own = format!("{slices}?fieldSelector=spec.nodeName%3Da");
    let listed = cluster.ask(&node, Method::GET, &own, Value::Null).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let theirs = format!("{slices}?fieldSelector=spec.nodeName%3Db");
    assert_eq!(cluster.ask(&node, Method::DELETE, &theirs, Value::Null).await.code, 403);
    cluster.ask(&node, Method::DELETE, &own, Value::Null).await.ok();
    let left = cluster.get(slices).await.ok();
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

/// What the authorizer cannot see, NodeRestriction does.
#[tokio::test]
async fn what_a_node_writes_is_its_own() {
    let cluster = Cluster::with_roles().await;
    for node in ["a", "b"] {
        owning(&cluster, node).await;
        let claim = json!({"metadata": {"name": node}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        cluster.post(&format!("{HERE}/persistentvolumeclaims"), claim).await.ok();
    }
    let node = User::node("a");
    let csr = |name: &str, signer: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        json!({"metadata": {"generateName": "x"}, "spec": {
            "signerName": signer, "usages": ["digital signature", "client auth"],
            "request": k8s_openapi::ByteString(pem.into_bytes()),
        }})
    };
    let (csrs, client) =
        ("/apis/certificates.k8s.io/v1/certificatesigningrequests", "kubernetes.io/kube-apiserver-client-kubelet");
    let slice = |node: &str| {
        json!({"metadata": {"name": format!("more-{node}")}, "spec": {
            "driver": "a.b", "nodeName": node, "pool": {"name": "q", "generation": 1, "resourceSliceCount": 1}}})
    };
    let csi = |name: &str| json!({"metadata": {"name": name}, "spec": {"drivers": []}});
    let (slices, csi_nodes) = ("/apis/resource.k8s.io/v1/resourceslices", "/apis/storage.k8s.io/v1/csinodes");
    let (post, patch) = (Method::POST, Method::PATCH);
    let claim = format!("{HERE}/persistentvolumeclaims/a/status");
    let cases = [
        (&post, csrs, csr("system:node:a", client), ""),
        (&post, csrs, csr("system:node:b", client), "can only create a node CSR with CN=system:node:a"),
        (&post, csrs, csr("system:node:b", "example.com/signer"), ""),
        (&post, slices, slice("a"), ""),
        (&post, slices, slice("b"), "can only create ResourceSlice with the same NodeName as the requesting node"),
        (&post, csi_nodes, csi("a"), ""),
        (&post, csi_nodes, csi("b"), "can only access CSINode with the same name as the requesting node"),
        (&patch, &claim, json!({"status": {"capacity": {"storage": "1Gi"}}}), ""),
        (
            &patch,
            &claim,
            json!({"status": {"phase": "Lost"}}),
            "node \"a\" is not allowed to update fields other than status.quantity and status.conditions",
        ),
        (
            &patch,
            &claim,
            json!({"metadata": {"labels": {"a": "b"}}}),
            "node \"a\" is not allowed to update fields other than status.quantity and status.conditions",
        ),
    ];
    for (method, path, object, why) in cases {
        let shown = object.to_string();
        let reply = cluster.ask(&node, method.clone(), path, object).await;
        match why {
            "" => drop(reply.ok()),
            why => assert!(
                reply.code == 403 && reply.said().ends_with(&format!("forbidden: {why}")),
                "{shown}: {}",
                reply.said()
            ),
        }
    }
}

#[tokio::test]
async fn a_node_reads_and_writes_for_its_own_pods() {
    let cluster = two_nodes().await;
    let node = User::node("n1");
    let ask = async |method: Method, path: &str, object: Value| cluster.ask(&node, method, path, object).await;
    let get = async |path: &str| ask(Method::GET, path, Value::Null).await.code;
    assert_eq!(get(&format!("{HERE}/secrets/of-n1")).await, 200);
    assert_eq!(get(&format!("{HERE}/secrets/of-n2")).await, 403);
    assert_eq!(get(&format!("{HERE}/secrets?fieldSelector=metadata.name=of-n1")).await, 200);
    assert_eq!(get(&format!("{HERE}/pods/on-n1")).await, 200);
    assert_eq!(get(&format!("{HERE}/pods/on-n2")).await, 403);
    assert_eq!(get("/api/v1/pods?fieldSelector=spec.nodeName=n1").await, 200);
    assert_eq!(get("/api/v1/nodes/n1").await, 200);
    assert_eq!(get("/apis/discovery.k8s.io/v1/endpointslices").await, 200);
    let ready = json!({"status": {"phase": "Running"}});
    ask(Method::PATCH, &format!("{HERE}/pods/on-n1/status"), ready.clone()).await.ok();
    let label = |key: &str| json!({"metadata": {"labels": {key: "x"}}});
    ask(Method::PATCH, "/api/v1/nodes/n1", label("example.com/rack")).await.ok();
    let taint = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    let evict = |name: &str| json!({"metadata": {"name": name}});
    let refused: Vec<(Reply, &str)> = vec![
        (
            ask(Method::PATCH, &format!("{HERE}/pods/on-n2/status"), ready).await,
            "pods \"on-n2\" is forbidden: node \"n1\" can only update pod status for pods with spec.nodeName set to itself",
        ),
        (
            ask(Method::PATCH, &format!("{HERE}/pods/on-n1/status"), label("a")).await,
            "pods \"on-n1\" is forbidden: node \"n1\" cannot update labels through pod status",
        ),
        (
            ask(Method::DELETE, &format!("{HERE}/pods/on-n2"), Value::Null).await,
            "pods \"on-n2\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself",
        ),
        (
            ask(Method::POST, &format!("{HERE}/pods/on-n2/eviction"), evict("on-n2")).await,
            "pods \"on-n2\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself",
        ),
        (
            ask(Method::POST, &format!("{HERE}/pods"), pod("mine", "n1", "of-n2")).await,
            "pods \"mine\" is forbidden: pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
        ),
        (
            ask(Method::PATCH, "/api/v1/nodes/n2", label("example.com/rack")).await,
            "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"",
        ),
        (
            ask(Method::PATCH, "/api/v1/nodes/n1", label("node-restriction.kubernetes.io/a")).await,
            "nodes \"n1\" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (
            ask(Method::PATCH, "/api/v1/nodes/n1", taint).await,
            "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints",
        ),
        (
            ask(Method::POST, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", evict("n2")).await,
            "leases.coordination.k8s.io \"n2\" is forbidden: can only access node lease with the same name as the requesting node",
        ),
    ];
    for (reply, said) in refused {
        assert_eq!(reply.said(), format!("Forbidden: {said}"));
    }
    ask(Method::POST, &format!("{HERE}/pods/on-n1/eviction"), evict("on-n1")).await.ok();
}

/// A binding of `role`, to somebody.
fn binding(role: &str) -> Value {
    json!({
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": "friend"}],
    })
}

#[tokio::test]
async fn nobody_rises_by_roles() {
    let cluster = Cluster::with_roles().await;
    let climber = User::new("kim", &["dev"]);
    let everything =
        "create,get,patch,update roles,rolebindings,clusterroles,clusterrolebindings in rbac.authorization.k8s.io";
    cluster.grant(everything, "User", "kim").await;
    cluster.grant("get pods", "Group", "dev").await;
    let role = |verbs: &[&str], resource: &str| {
        let rule = json!({"verbs": verbs, "apiGroups": [""], "resources": [resource]});
        json!({"metadata": {"name": "mine"}, "rules": [rule]})
    };
    let ask = async |method: Method, path: &str, object: Value| cluster.ask(&climber, method, path, object).await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let held = "user \"kim\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n";
    let reply = ask(Method::POST, &roles, role(&["get", "list", "delete"], "pods")).await;
    let missing = "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"delete\"]}";
    let told = format!("Forbidden: roles.rbac.authorization.k8s.io \"mine\" is forbidden: {held}{missing}");
    assert_eq!(reply.said(), told);
    ask(Method::POST, &roles, role(&["get"], "pods")).await.ok();
    let reply = ask(Method::PATCH, &format!("{roles}/mine"), json!({"rules": role(&["*"], "*")["rules"]})).await;
    assert_eq!(reply.code, 403);
    // Owners and finalizers may change whatever the role says.
    ask(Method::PATCH, &format!("{roles}/mine"), json!({"metadata": {"finalizers": ["a/b"]}})).await.ok();

    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let reply = ask(Method::POST, &bindings, binding("cluster-admin")).await;
    let missing = "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}";
    let told =
        format!("Forbidden: rolebindings.rbac.authorization.k8s.io \"cluster-admin\" is forbidden: {held}{missing}");
    assert_eq!(reply.said(), told);
    let reply = ask(Method::POST, &bindings, binding("none")).await;
    assert_eq!(reply.said(), "NotFound: clusterroles.rbac.authorization.k8s.io \"none\" not found");
    ask(Method::POST, &bindings, binding("of-dev")).await.ok();
    let gathers = json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{}]}});
    let reply = ask(Method::POST, &format!("{RBAC}/clusterroles"), gathers).await;
    let why = "must have cluster-admin privileges to use the aggregationRule";
    assert_eq!(reply.said(), format!("Forbidden: clusterroles.rbac.authorization.k8s.io \"all\" is forbidden: {why}"));

    cluster
        .grant_in(
            "default",
            "bind clusterroles in rbac.authorization.k8s.io named system:auth-delegator",
            "User",
            "kim",
        )
        .await;
    ask(Method::POST, &bindings, binding("system:auth-delegator")).await.ok();
    let reply = ask(Method::POST, &format!("{RBAC}/clusterrolebindings"), binding("system:auth-delegator")).await;
    assert_eq!(reply.code, 403, "to bind it here is not to bind it everywhere");
    let escalator = User::new("eve", &[]);
    cluster.grant("create,escalate roles in rbac.authorization.k8s.io", "User", "eve").await;
    let mut all = role(&["*"], "*");
    all["metadata"]["name"] = json!("all");
    cluster.ask(&escalator, Method::POST, &roles, all).await.ok();
}

#[tokio::test]
async fn owners_are_for_those_who_may_delete_or_finalize() {
    let cluster = Cluster::new().await;
    let owner = cluster.post(&format!("{HERE}/configmaps"), config_map("owner")).await.ok();
    let kim = User::new("kim", &[]);
    cluster.grant_in("default", "create,get,patch configmaps", "User", "kim").await;
    let owned = |name: &str, blocks: bool| {
        let mut object = config_map(name);
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocks,
        }]);
        object
    };
    let path = format!("{HERE}/configmaps");
    cluster.ask(&kim, Method::POST, &path, owned("free", false)).await.ok();
    let reply = cluster.ask(&kim, Method::POST, &path, owned("blocking", true)).await;
    let why =
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>";
    assert_eq!(reply.said(), format!("Forbidden: configmaps \"blocking\" is forbidden: {why}"));
    let without = json!({"metadata": {"ownerReferences": null}});
    let reply = cluster.ask(&kim, Method::PATCH, &format!("{path}/free"), without).await;
    let why = "cannot set an ownerRef on a resource you can't delete: , <nil>";
    assert_eq!(reply.said(), format!("Forbidden: configmaps \"free\" is forbidden: {why}"));
}
