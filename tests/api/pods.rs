//! Pods and Services through the whole pipeline: what each window on them lets through, generations and warnings.

use serde_json::{Value, json};

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

fn pod(name: &str) -> Value {
    let container = json!({"name": "c", "image": "i", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]});
    json!({"metadata": {"name": name}, "spec": {"containers": [container]}})
}

#[tokio::test]
async fn an_update_changes_images_and_tells_what_else_it_may() {
    let cluster = Cluster::new().await;
    let path = format!("{PODS}/a");
    let mut object = cluster.post(PODS, pod("a")).await.ok();
    assert_eq!(object["metadata"]["generation"], 1);
    object["spec"]["containers"][0]["image"] = json!("j");
    let mut object = cluster.put(&path, object).await.ok();
    assert_eq!(object["metadata"]["generation"], 2);
    object["spec"]["nodeName"] = json!("n");
    let refused = cluster.put(&path, object).await;
    let said = refused.said();
    let expected = "Invalid: Pod \"a\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n@@ -";
    assert!(refused.code == 422 && said.starts_with(expected), "{said}");
    assert!(said.contains("\n+ \"NodeName\": \"n\",\n"), "{said}");
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "FieldValueForbidden");
}

#[tokio::test]
async fn resources_change_through_resize_alone() {
    let cluster = Cluster::new().await;
    let mut object = cluster.post(PODS, pod("a")).await.ok();
    object["spec"]["containers"][0]["resources"] =
        json!({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "2", "memory": "1Gi"}});
    object["spec"]["containers"][0]["image"] = json!("j");
    assert_eq!(cluster.put(&format!("{PODS}/a"), object.clone()).await.code, 422);
    let mut resized = cluster.put(&format!("{PODS}/a/resize"), object).await.ok();
    let container = &resized["spec"]["containers"][0];
    assert_eq!((&container["resources"]["limits"]["cpu"], &container["image"]), (&json!("2"), &json!("i")));
    assert_eq!(resized["metadata"]["generation"], 2);
    resized["spec"]["containers"][0]["resources"] = json!({});
    let refused = cluster.put(&format!("{PODS}/a/resize"), resized).await;
    let causes: Vec<_> =
        refused.json()["details"]["causes"].as_array().unwrap().iter().map(|c| c["field"].clone()).collect();
    assert_eq!(causes, ["spec", "spec.containers[0].resources.requests", "spec.containers[0].resources.limits"]);
}

#[tokio::test]
async fn ephemeral_containers_come_through_their_window() {
    let cluster = Cluster::new().await;
    let mut object = cluster.post(PODS, pod("a")).await.ok();
    object["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "i", "targetContainerName": "c"}]);
    assert_eq!(cluster.put(&format!("{PODS}/a"), object.clone()).await.code, 422);
    let path = format!("{PODS}/a/ephemeralcontainers");
    let mut object = cluster.put(&path, object).await.ok();
    assert_eq!(object["spec"]["ephemeralContainers"][0]["imagePullPolicy"], "Always");
    object["spec"]["ephemeralContainers"] = json!([]);
    assert_eq!(
        cluster.put(&path, object).await.said(),
        "Invalid: Pod \"a\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed\n"
    );
}

#[tokio::test]
async fn statuses_keep_what_their_writers_do_not_know() {
    let cluster = Cluster::new().await;
    let path = format!("{PODS}/a/status");
    let mut object = cluster.post(PODS, pod("a")).await.ok();
    object["status"] = json!({"phase": "Running", "observedGeneration": 1});
    let mut object = cluster.put(&path, object).await.ok();
    assert_eq!(object["status"]["qosClass"], "Guaranteed");
    object["status"] = json!({"phase": "Running"});
    let mut object = cluster.put(&path, object).await.ok();
    assert_eq!(object["status"]["observedGeneration"], 1);
    object["status"]["qosClass"] = json!("BestEffort");
    assert_eq!(
        cluster.put(&path, object).await.said(),
        "Invalid: Pod \"a\" is invalid: status.qosClass: Invalid value: \"BestEffort\": field is immutable"
    );
}

#[tokio::test]
async fn mistakes_are_warned_of() {
    let cluster = Cluster::new().await;
    let mut object = pod("a.b");
    object["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let reply = cluster.post(PODS, object).await;
    let said = reply.warnings().join("\n");
    assert!(said.contains("metadata.name: this is used in the Pod's hostname"), "{said}");
    assert!(said.contains("spec.containers[0].env[1]: hides previous definition of"), "{said}");
    let object = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "None", "externalIPs": ["1.2.3.4"]}});
    let reply = cluster.post(SERVICES, object).await;
    let said = reply.warnings().join("\n");
    assert!(said.contains("spec.externalIPs is ignored for headless services"), "{said}");
}

#[tokio::test]
async fn a_service_keeps_its_address_and_its_node_ports_by_name() {
    let cluster = Cluster::new().await;
    let path = format!("{SERVICES}/s");
    let ports = json!([{"name": "http", "port": 80}, {"name": "https", "port": 443}]);
    let made = cluster
        .post(SERVICES, json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}}))
        .await
        .ok();
    let ports = json!([{"name": "https", "port": 8443}, {"name": "http", "port": 80}]);
    let changed = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}});
    let mut changed = cluster.put(&path, changed).await.ok();
    assert_eq!(changed["spec"]["clusterIP"], made["spec"]["clusterIP"]);
    assert_eq!(changed["spec"]["ports"][0]["nodePort"], made["spec"]["ports"][1]["nodePort"]);
    let address = changed["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let other = if address.ends_with(".77") { "10.43.0.78" } else { "10.43.0.77" };
    changed["spec"]["clusterIP"] = json!(other);
    let refused = cluster.put(&path, changed).await;
    assert_eq!(refused.code, 422);
    assert!(refused.said().ends_with("may not change once set"), "{}", refused.said());
}
