//! What pods and Services are given at creation.

use std::sync::Arc;

use http::Method;
use orch::server::http::authn::User;
use serde_json::{Value, json};

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    for (name, value) in spec.as_object().unwrap() {
        pod["spec"][name] = value.clone();
    }
    pod
}

#[tokio::test]
async fn a_pod_gets_its_account_token_tolerations_and_priority() {
    let cluster = Cluster::new().await;
    let spec = cluster.post(PODS, pod(json!({}))).await.ok()["spec"].clone();
    assert_eq!(spec["serviceAccountName"], "default");
    let volume = &spec["volumes"][0];
    let name = volume["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == 21, "{name}");
    let mount = json!({"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"});
    assert_eq!(spec["containers"][0]["volumeMounts"], json!([mount]));
    assert_eq!(
        volume["projected"],
        json!({"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]})
    );
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
}

#[tokio::test]
async fn pods_may_decline_and_may_not_pretend() {
    let cluster = Cluster::new().await;
    let path = format!("{PODS}?dryRun=All");
    let spec = cluster.post(&path, pod(json!({"automountServiceAccountToken": false}))).await.ok()["spec"].clone();
    assert_eq!(spec.get("volumes"), None);
    let spec = cluster.post(&path, pod(json!({"priorityClassName": "system-node-critical"}))).await.ok();
    assert_eq!(spec["spec"]["priority"], 2_000_001_000);
    let cases = [
        (
            json!({"priorityClassName": "x"}),
            "Forbidden: pods \"a\" is forbidden: no PriorityClass with name x was found",
        ),
        (
            json!({"priority": 5}),
            "Forbidden: pods \"a\" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name",
        ),
        (
            json!({"serviceAccountName": "x"}),
            "Forbidden: pods \"a\" is forbidden: error looking up service account default/x: serviceaccount \"x\" not found",
        ),
    ];
    for (spec, said) in cases {
        assert_eq!(cluster.post(PODS, pod(spec)).await.said(), said);
    }
}

/// A name is generated after what is filled in and before what is checked last; refusals show which it was.
#[tokio::test]
async fn admission_sees_a_generated_name_only_at_the_end() {
    let cluster = Cluster::new().await;
    let mut unnamed = pod(json!({"serviceAccountName": "x"}));
    unnamed["metadata"] = json!({"generateName": "web-"});
    let said = "Forbidden: pods \"web-\" is forbidden: error looking up service account default/x: serviceaccount \"x\" not found";
    assert_eq!(cluster.post(PODS, unnamed.clone()).await.said(), said);
    let limits = json!({"limits": [{"type": "Container", "max": {"cpu": "1"}}]});
    let ranges = "/api/v1/namespaces/default/limitranges";
    cluster.post(ranges, json!({"metadata": {"name": "r"}, "spec": limits})).await.ok();
    unnamed["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    unnamed["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let said = cluster.post(PODS, unnamed).await.said();
    let name = said.strip_prefix("Forbidden: pods \"web-").and_then(|rest| rest.split_once('"')).unwrap_or_default();
    assert_eq!(name.0.len(), 5, "{said}");
    assert_eq!(name.1, " is forbidden: maximum cpu usage per Container is 1, but limit is 2");
    let namespace = cluster.post("/api/v1/namespaces", json!({"metadata": {"generateName": "team-"}})).await.ok();
    let metadata = &namespace["metadata"];
    assert_eq!(metadata["labels"]["kubernetes.io/metadata.name"], metadata["name"]);
}

/// What names a Secret that its account does not list is refused before what is wrong with the pod itself.
#[tokio::test]
async fn secrets_are_limited_first() {
    let cluster = Cluster::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    cluster.post(accounts, json!({"metadata": {"name": "strict", "annotations": annotations}})).await.ok();
    let env = json!([{"name": "V", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    let broken = json!({"serviceAccountName": "strict", "containers": [{"name": "A", "image": "a", "env": env}]});
    let rule = "referencing secret.secretName=\"s\" is not allowed because service account strict does not reference that secret";
    let said = cluster.post(PODS, pod(broken)).await.said();
    assert_eq!(said, format!("Forbidden: pods \"a\" is forbidden: container A with envVar V {rule}"));
    let mut mirror = pod(json!({"serviceAccountName": "strict", "containers": []}));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let said = cluster.post(PODS, mirror).await.said();
    assert_eq!(said, "Forbidden: pods \"a\" is forbidden: a mirror pod may not reference service accounts");
    let mut made = cluster.post(PODS, pod(json!({"serviceAccountName": "strict"}))).await.ok();
    made["spec"]["ephemeralContainers"] = json!([{"name": "e", "image": "a", "env": env}]);
    let reply = cluster.put(&format!("{PODS}/a/ephemeralcontainers"), made).await;
    assert_eq!((reply.code, reply.said()), (500, format!(": ephemeral container e with envVar V {rule}")));
}

#[tokio::test]
async fn admin_access_to_devices_is_for_namespaces_that_say_so() {
    const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let cluster = Cluster::new().await;
    let exactly = json!({"deviceClassName": "c", "adminAccess": true});
    let claim =
        json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}});
    let said = "Invalid: ResourceClaim.resource.k8s.io \"a\" is invalid: spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace";
    assert_eq!(cluster.post(CLAIMS, claim.clone()).await.said(), said);
    let labels = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}});
    cluster
        .call(Method::PATCH, "/api/v1/namespaces/default", "application/merge-patch+json", labels.to_string())
        .await
        .ok();
    cluster.post(CLAIMS, claim).await.ok();
}

#[tokio::test]
async fn each_part_of_a_claims_status_has_its_own_writers() {
    const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    const STATUS: &str = "resourceclaims/status in resource.k8s.io";
    let cluster = Cluster::new().await;
    let exactly = json!({"deviceClassName": "c"});
    let claim =
        json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}});
    cluster.post(CLAIMS, claim).await.ok();
    let status = format!("{CLAIMS}/a/status");
    let on = json!({"key": "metadata.name", "operator": "In", "values": ["n1"]});
    let result = json!({"request": "r", "driver": "d.x", "pool": "p", "device": "x"});
    let allocation = json!({"devices": {"results": [result]},
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [on]}]}});
    let allocated = json!({"status": {"allocation": allocation}});
    let reported = json!({"status": {"devices": [{"driver": "d.x", "pool": "p", "device": "x"}]}});
    let invalid = "Invalid: ResourceClaim.resource.k8s.io \"a\" is invalid:";

    let user = User::new("kim", &[]);
    cluster.grant(&format!("patch {STATUS}"), "User", "kim").await;
    let said = cluster.ask(&user, Method::PATCH, &status, allocated.clone()).await.said();
    let denied = r#"resourceclaims.resource.k8s.io is forbidden: User "kim" cannot patch resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope"#;
    let changing = r#"changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="patch" permission"#;
    assert_eq!(said, format!("{invalid} status: Forbidden: {changing}: {denied}"));

    let binder = User::new("lee", &[]);
    cluster.grant("patch resourceclaims/status,resourceclaims/binding in resource.k8s.io", "User", "lee").await;
    cluster.ask(&binder, Method::PATCH, &status, allocated).await.ok();
    let said = cluster.ask(&binder, Method::PATCH, &status, reported.clone()).await.said();
    let denied = r#"resourceclaims.resource.k8s.io "d.x" is forbidden: User "lee" cannot arbitrary-node:patch resource "resourceclaims/driver" in API group "resource.k8s.io" in the namespace "default""#;
    let changing = r#"changing status.devices requires resource="resourceclaims/driver", verb="[arbitrary-node:patch]" permission"#;
    assert_eq!(said, format!("{invalid} status.devices: Forbidden: {changing}: {denied}"));

    // A driver whose pod is on the node of the devices may do there what it may not elsewhere.
    let mut driver = User::service_account("default", "d", "u");
    cluster.grant(&format!("patch {STATUS}"), "User", &driver.name).await;
    cluster
        .grant_in("default", "associated-node:patch resourceclaims/driver in resource.k8s.io", "User", &driver.name)
        .await;
    for (node, code) in [("n2", 422), ("n1", 200)] {
        driver.extra.insert(User::NODE_NAME.to_owned(), vec![node.to_owned()]);
        assert_eq!(cluster.ask(&driver, Method::PATCH, &status, reported.clone()).await.code, code, "{node}");
    }
}

fn service(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["ports"] = spec.get("ports").cloned().unwrap_or_else(|| json!([{"port": 80}]));
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn services_get_addresses_and_ports_exactly_once() {
    let cluster = Arc::new(Cluster::new().await);
    let tasks: Vec<_> = (0..40)
        .map(|at| {
            let cluster = cluster.clone();
            tokio::spawn(async move {
                let object = service(&format!("s{at}"), json!({"type": "NodePort"}));
                cluster.post(SERVICES, object).await.ok()["spec"].clone()
            })
        })
        .collect();
    let mut ips = std::collections::HashSet::new();
    let mut ports = std::collections::HashSet::new();
    for task in tasks {
        let spec = task.await.unwrap();
        assert!(spec["clusterIP"].as_str().unwrap().starts_with("10.43."));
        assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
        assert!(ips.insert(spec["clusterIP"].to_string()));
        assert!(ports.insert(spec["ports"][0]["nodePort"].as_u64().unwrap()));
    }
    assert!(ports.iter().all(|port| (30000..=32767).contains(port)));
}

#[tokio::test]
async fn a_health_check_port_is_given_out_once_and_kept() {
    let cluster = Cluster::new().await;
    let spec = |port: i32| {
        json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port,
            "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}],
        })
    };
    let made = cluster.post(SERVICES, service("a", spec(0))).await.ok();
    let port = made["spec"]["healthCheckNodePort"].as_i64().unwrap() as i32;
    assert!((30000..=32767).contains(&port));
    assert_eq!(made["spec"]["ports"][0].get("nodePort"), None, "none was asked for");
    let kept = cluster.put(&format!("{SERVICES}/a"), service("a", spec(0))).await.ok();
    assert_eq!(kept["spec"]["healthCheckNodePort"], port);
    let taken = cluster.post(SERVICES, service("b", spec(port))).await;
    assert_eq!(
        (taken.code, taken.said()),
        (
            500,
            format!(
                "InternalError: Internal error occurred: failed to allocate requested HealthCheck NodePort {port}: provided port is already allocated"
            )
        )
    );
    cluster.delete(&format!("{SERVICES}/a"), Value::Null).await.ok();
    cluster.post(SERVICES, service("b", spec(port))).await.ok();
}

#[tokio::test]
async fn a_chosen_address_is_checked_and_freed_by_deletion() {
    let cluster = Cluster::new().await;
    let wish = json!({"clusterIP": "10.43.0.10", "type": "NodePort", "ports": [{"port": 53, "nodePort": 30053, "protocol": "UDP", "name": "u"}, {"port": 53, "nodePort": 30053, "name": "t"}]});
    cluster.post(SERVICES, service("a", wish.clone())).await.ok();
    let taken = cluster.post(SERVICES, service("b", wish.clone())).await;
    assert_eq!(
        (taken.code, taken.said().as_str()),
        (
            422,
            "Invalid: Service \"b\" is invalid: [spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: failed to allocate IP 10.43.0.10: provided IP is already allocated, spec.ports[0].nodePort: Invalid value: 30053: provided port is already allocated, spec.ports[1].nodePort: Invalid value: 30053: provided port is already allocated]"
        )
    );
    let outside = cluster.post(SERVICES, service("b", json!({"clusterIP": "10.0.0.1"}))).await;
    assert_eq!(
        outside.said(),
        "Invalid: Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: failed to allocate IP 10.0.0.1: the provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is 10.43.0.0/16"
    );
    cluster.delete(&format!("{SERVICES}/a"), Value::Null).await.ok();
    cluster.post(SERVICES, service("b", wish)).await.ok();
    // An update that does not mention them keeps them.
    let kept = cluster
        .put(&format!("{SERVICES}/b"), service("b", json!({"type": "NodePort", "ports": [{"port": 53, "name": "t"}]})))
        .await
        .ok();
    assert_eq!(
        (&kept["spec"]["clusterIP"], &kept["spec"]["ports"][0]["nodePort"]),
        (&json!("10.43.0.10"), &json!(30053))
    );
    let headless =
        cluster.post(SERVICES, service("h", json!({"clusterIP": "None", "selector": {"a": "b"}}))).await.ok();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let plain = cluster.put(&format!("{SERVICES}/b"), service("b", json!({"type": "ClusterIP"}))).await.ok();
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
}
