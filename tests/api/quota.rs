//! Quotas hold exactly, whoever comes at the same time; what fails uses nothing.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::{CONFIG_MAPS, Cluster, config_map};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A quota whose status says what is used, as the controller would.
async fn quota(cluster: &Cluster, hard: Value, used: Value) {
    scoped(cluster, json!({"hard": hard}), used).await;
}

async fn scoped(cluster: &Cluster, spec: Value, used: Value) {
    let mut made = cluster.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": spec})).await.ok();
    made["status"] = json!({"hard": spec["hard"], "used": used});
    cluster.put(&format!("{QUOTAS}/q/status"), made).await.ok();
}

async fn used(cluster: &Cluster) -> Value {
    cluster.get(&format!("{QUOTAS}/q")).await.ok()["status"]["used"].clone()
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "a",
        "resources": {"requests": {"cpu": "100m"}}}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_at_once_never_exceed_a_quota() {
    let cluster = Arc::new(Cluster::new().await);
    quota(&cluster, json!({"pods": "10", "requests.cpu": "20"}), json!({"pods": "0", "requests.cpu": "0"})).await;
    let tasks: Vec<_> = (0..64)
        .map(|at| {
            let cluster = cluster.clone();
            tokio::spawn(async move { cluster.post(PODS, pod(&format!("p{at}"))).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        let reply = task.await.unwrap();
        match reply.code {
            201 => made += 1,
            _ => {
                let said = reply.said();
                let tail = "is forbidden: exceeded quota: q, requested: pods=1, used: pods=10, limited: pods=10";
                assert!(said.ends_with(tail), "{said}");
            }
        }
    }
    assert_eq!(made, 10);
    assert_eq!(cluster.get(PODS).await.ok()["items"].as_array().unwrap().len(), 10);
    assert_eq!(used(&cluster).await, json!({"pods": "10", "requests.cpu": "1"}));
}

#[tokio::test]
async fn what_is_not_made_uses_nothing() {
    let cluster = Cluster::new().await;
    cluster.post(CONFIG_MAPS, config_map("there")).await.ok();
    quota(&cluster, json!({"count/configmaps": "5"}), json!({"count/configmaps": "1"})).await;
    assert_eq!(cluster.post(CONFIG_MAPS, config_map("there")).await.code, 409);
    cluster.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("dry")).await.ok();
    let mut invalid = config_map("bad");
    invalid["data"] = json!({"..": "x"});
    assert_eq!(cluster.post(CONFIG_MAPS, invalid).await.code, 422);
    assert_eq!(used(&cluster).await, json!({"count/configmaps": "1"}));
    cluster.post(CONFIG_MAPS, config_map("new")).await.ok();
    assert_eq!(used(&cluster).await, json!({"count/configmaps": "2"}));
}

#[tokio::test]
async fn an_update_is_charged_for_what_it_adds() {
    let cluster = Cluster::new().await;
    let hard = json!({"services.nodeports": "1", "services": "5"});
    quota(&cluster, hard, json!({"services.nodeports": "0", "services": "0"})).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |kind: &str, ports: Value| json!({"metadata": {"name": "s"}, "spec": {"type": kind, "ports": ports}});
    cluster.post(services, service("ClusterIP", json!([{"port": 80}]))).await.ok();
    assert_eq!(used(&cluster).await, json!({"services": "1", "services.nodeports": "0"}));
    let path = format!("{services}/s");
    let two = json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]);
    assert_eq!(
        cluster.put(&path, service("NodePort", two)).await.said(),
        "Forbidden: services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1"
    );
    cluster.put(&path, service("NodePort", json!([{"port": 80}]))).await.ok();
    assert_eq!(used(&cluster).await, json!({"services": "1", "services.nodeports": "1"}));
    cluster.put(&path, service("ClusterIP", json!([{"port": 80}]))).await.ok();
    assert_eq!(used(&cluster).await, json!({"services": "1", "services.nodeports": "0"}));
}

#[tokio::test]
async fn a_limited_resource_must_be_asked_for() {
    let cluster = Cluster::new().await;
    quota(&cluster, json!({"limits.memory": "1Gi"}), json!({"limits.memory": "0"})).await;
    assert_eq!(
        cluster.post(PODS, pod("a")).await.said(),
        "Forbidden: pods \"a\" is forbidden: failed quota: q: must specify limits.memory for: a"
    );
}

#[tokio::test]
async fn a_resize_is_charged_until_the_node_has_done_it_and_stays_within_bounds() {
    let cluster = Cluster::new().await;
    quota(&cluster, json!({"requests.cpu": "1"}), json!({"requests.cpu": "0"})).await;
    let mut object = cluster.post(PODS, pod("a")).await.ok();
    let with = |object: &Value, cpu: &str| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        object["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!(cpu);
        object
    };
    let resize = format!("{PODS}/a/resize");
    assert_eq!(
        cluster.put(&resize, with(&object, "1200m")).await.said(),
        "Forbidden: pods \"a\" is forbidden: exceeded quota: q, requested: requests.cpu=1100m, used: requests.cpu=100m, limited: requests.cpu=1"
    );
    object = cluster.put(&resize, with(&object, "500m")).await.ok();
    assert_eq!(used(&cluster).await, json!({"requests.cpu": "500m"}));
    // The node runs it with all of that: wanting less gives nothing back yet.
    object["status"]["containerStatuses"] = json!([{"name": "a", "image": "a", "imageID": "", "ready": true,
        "restartCount": 0, "resources": {"requests": {"cpu": "500m"}}, "allocatedResources": {"cpu": "500m"}}]);
    object = cluster.put(&format!("{PODS}/a/status"), object).await.ok();
    object = cluster.put(&resize, with(&object, "200m")).await.ok();
    assert_eq!(used(&cluster).await, json!({"requests.cpu": "500m"}));
    let limits = json!({"limits": [{"type": "Container", "min": {"cpu": "50m"}}]});
    let ranges = "/api/v1/namespaces/default/limitranges";
    cluster.post(ranges, json!({"metadata": {"name": "r"}, "spec": limits})).await.ok();
    assert_eq!(
        cluster.put(&resize, with(&object, "10m")).await.said(),
        "Forbidden: pods \"a\" is forbidden: minimum cpu usage per Container is 50m, but request is 10m"
    );
}

#[tokio::test]
async fn a_pod_that_gets_a_deadline_comes_into_that_scope() {
    let cluster = Cluster::new().await;
    scoped(&cluster, json!({"hard": {"pods": "1"}, "scopes": ["Terminating"]}), json!({"pods": "0"})).await;
    for (name, said) in [
        ("a", None),
        (
            "b",
            Some(
                "Forbidden: pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
            ),
        ),
    ] {
        let mut object = cluster.post(PODS, pod(name)).await.ok();
        object["spec"]["activeDeadlineSeconds"] = json!(60);
        let reply = cluster.put(&format!("{PODS}/{name}"), object).await;
        assert_eq!((reply.code != 200).then(|| reply.said()).as_deref(), said);
        assert_eq!(used(&cluster).await, json!({"pods": "1"}));
    }
}

#[tokio::test]
async fn a_claims_status_is_counted_and_never_refused() {
    let cluster = Cluster::new().await;
    let expression = json!({"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"]});
    let spec = json!({"hard": {"persistentvolumeclaims": "0"}, "scopeSelector": {"matchExpressions": [expression]}});
    scoped(&cluster, spec, json!({"persistentvolumeclaims": "0"})).await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "volumeAttributesClassName": "silver", "resources": {"requests": {"storage": "1Gi"}}}});
    let mut made = cluster.post(claims, claim).await.ok();
    made["status"]["currentVolumeAttributesClassName"] = json!("gold");
    cluster.put(&format!("{claims}/c/status"), made).await.ok();
    assert_eq!(used(&cluster).await, json!({"persistentvolumeclaims": "1"}));
}

/// Also where the write would change nothing of it.
#[tokio::test]
async fn a_quota_that_nobody_has_counted_yet_refuses_updates() {
    let cluster = Cluster::new().await;
    let services = "/api/v1/namespaces/default/services";
    let mut made =
        cluster.post(services, json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})).await.ok();
    let mut uncounted =
        cluster.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": {"hard": {"services": "5"}}})).await.ok();
    uncounted["status"] = json!({"hard": {"services": "5"}});
    cluster.put(&format!("{QUOTAS}/q/status"), uncounted).await.ok();
    made["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(
        cluster.put(&format!("{services}/s"), made).await.said(),
        "Forbidden: services \"s\" is forbidden: status unknown for quota: q, resources: services"
    );
}
