//! What namespaces say about their pods: LimitRanges and Pod Security labels; and the defaults and protections of
//! storage, Ingresses and nodes.

use serde_json::{Value, json};

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";

fn pod(name: &str, container: Value) -> Value {
    let mut whole = json!({"name": "a", "image": "a"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": {"containers": [whole]}})
}

#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    let cluster = Cluster::new().await;
    let limits = json!([{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]);
    cluster.post(RANGES, json!({"metadata": {"name": "r"}, "spec": {"limits": limits}})).await.ok();
    let made = cluster.post(PODS, pod("a", json!({}))).await.ok();
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container a; cpu limit for container a"
    );
    let refused = cluster.post(PODS, pod("b", json!({"resources": {"limits": {"cpu": "2"}}}))).await;
    assert_eq!(
        (refused.code, refused.said().as_str()),
        (403, "Forbidden: pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2")
    );
}

#[tokio::test]
async fn pod_security_refuses_pods_and_warns_about_workloads() {
    let cluster = Cluster::new().await;
    let privileged = json!({"securityContext": {"privileged": true}});
    cluster.post(PODS, pod("before", privileged.clone())).await.ok();
    let label = |mode: &str, level: &str| json!({"metadata": {"name": "default", "labels": {format!("pod-security.kubernetes.io/{mode}"): level}}});
    let path = "/api/v1/namespaces/default";
    let wrong = cluster.put(path, label("enforce", "none")).await;
    assert_eq!(
        wrong.said(),
        "Invalid: Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"none\": must be one of privileged, baseline, restricted"
    );
    let stricter = cluster.put(path, label("enforce", "baseline")).await;
    assert_eq!(
        stricter.warnings(),
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"before: privileged\"",
        ]
    );
    let why = "privileged (container \"a\" must not set securityContext.privileged=true)";
    assert_eq!(
        cluster.post(PODS, pod("after", privileged.clone())).await.said(),
        format!("Forbidden: pods \"after\" is forbidden: violates PodSecurity \"baseline:latest\": {why}")
    );
    cluster.put(path, label("warn", "baseline")).await.ok();
    let spec = json!({
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("", privileged.clone())["spec"]},
    });
    let workload = json!({"metadata": {"name": "d"}, "spec": spec});
    let made = cluster.post("/apis/apps/v1/namespaces/default/deployments", workload).await;
    let warning = format!("would violate PodSecurity \"baseline:latest\": {why}").replace('"', "\\\"");
    assert_eq!((made.code, made.warnings()), (201, vec![format!("299 - \"{warning}\"").as_str()]));
    let made = cluster.post(PODS, pod("warned", privileged)).await;
    assert_eq!((made.code, made.warnings().len()), (201, 1));
}

#[tokio::test]
async fn classes_are_chosen_for_who_names_none() {
    let cluster = Cluster::new().await;
    let annotation = |key: &str| json!({key: "true"});
    let class = json!({"metadata": {"name": "fast", "annotations": annotation("storageclass.kubernetes.io/is-default-class")},
        "provisioner": "example.com/disk"});
    cluster.post("/apis/storage.k8s.io/v1/storageclasses", class).await.ok();
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = cluster.post(claims, claim).await.ok();
    assert_eq!(made["spec"]["storageClassName"], "fast");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let mut bound = made;
    bound["status"]["phase"] = json!("Bound");
    let mut larger = cluster.put(&format!("{claims}/c/status"), bound).await.ok();
    larger["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    assert_eq!(
        cluster.put(&format!("{claims}/c"), larger).await.said(),
        "Forbidden: persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    );
    let class = json!({"metadata": {"name": "nginx", "annotations": annotation("ingressclass.kubernetes.io/is-default-class")},
        "spec": {"controller": "example.com/nginx"}});
    cluster.post("/apis/networking.k8s.io/v1/ingressclasses", class).await.ok();
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    let made = cluster.post("/apis/networking.k8s.io/v1/namespaces/default/ingresses", ingress).await.ok();
    assert_eq!(made["spec"]["ingressClassName"], "nginx");
    let node = cluster.post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await.ok();
    assert_eq!(node["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));
}

#[tokio::test]
async fn a_runtime_class_gives_its_overhead() {
    let cluster = Cluster::new().await;
    let mut object = pod("a", json!({}));
    object["spec"]["runtimeClassName"] = json!("kata");
    assert_eq!(
        cluster.post(PODS, object.clone()).await.said(),
        "Forbidden: pods \"a\" is forbidden: pod rejected: RuntimeClass \"kata\" not found"
    );
    let class = json!({"metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"cpu": "250m"}}});
    cluster.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.ok();
    assert_eq!(cluster.post(PODS, object).await.ok()["spec"]["overhead"], json!({"cpu": "250m"}));
    let mut own = pod("b", json!({}));
    own["spec"]["overhead"] = json!({"cpu": "1"});
    assert_eq!(
        cluster.post(PODS, own).await.said(),
        "Forbidden: pods \"b\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    );
}

#[tokio::test]
async fn a_bound_pod_knows_its_zone() {
    let cluster = Cluster::new().await;
    let labels = json!({"topology.kubernetes.io/zone": "a", "other": "b"});
    cluster.post("/api/v1/nodes", json!({"metadata": {"name": "n", "labels": labels}})).await.ok();
    cluster.post(PODS, pod("p", json!({}))).await.ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    cluster.post(&format!("{PODS}/p/binding"), binding).await.ok();
    let bound = cluster.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(bound["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "a"}));
    // So does one that is created there, whatever it says itself.
    let mut there = pod("there", json!({}));
    there["spec"]["nodeName"] = "n".into();
    there["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "elsewhere", "mine": "x"});
    let there = cluster.post(PODS, there).await.ok();
    assert_eq!(there["metadata"]["labels"], json!({"topology.kubernetes.io/zone": "a", "mine": "x"}));
    // What is bound to does not say that it is a node.
    cluster.post(PODS, pod("q", json!({}))).await.ok();
    let vague = json!({"metadata": {"name": "q"}, "target": {"name": "n"}});
    cluster.post(&format!("{PODS}/q/binding"), vague).await.ok();
    assert_eq!(cluster.get(&format!("{PODS}/q")).await.ok()["metadata"]["labels"], Value::Null);
}
