//! Rules of kinds as clients meet them: updates and statuses through the whole pipeline.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Reply};

/// What the server says of an object that it refuses.
#[track_caller]
fn refused(reply: Reply, words: &str) {
    let (code, said) = (reply.code, reply.said());
    assert!(code == 422 && said.contains(words), "{code} {said}");
}

fn template(labels: Value, policy: &str) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "i"}]}})
}

#[tokio::test]
async fn the_selector_of_a_deployment_stays() {
    let cluster = Cluster::new().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let labels = json!({"app": "a"});
    let spec = json!({"selector": {"matchLabels": labels}, "template": template(labels.clone(), "Always")});
    let mut made = cluster.post(path, json!({"metadata": {"name": "a"}, "spec": spec})).await.ok();
    let other = json!({"app": "b"});
    made["spec"]["selector"]["matchLabels"] = other.clone();
    made["spec"]["template"]["metadata"]["labels"] = other;
    let words = "Deployment.apps \"a\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable";
    let reply = cluster.put(&format!("{path}/a"), made.clone()).await;
    assert_eq!(reply.json()["details"]["causes"][0]["field"], "spec.selector");
    refused(reply, words);
    made["status"] = json!({"replicas": 1, "readyReplicas": 2});
    let words = "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas";
    refused(cluster.put(&format!("{path}/a/status"), made).await, words);
}

#[tokio::test]
async fn a_job_moves_only_while_it_is_suspended() {
    let cluster = Cluster::new().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let spec = json!({"suspend": true, "template": template(json!({}), "Never")});
    let mut job = cluster.post(jobs, json!({"metadata": {"name": "a"}, "spec": spec})).await.ok();
    let uid = job["metadata"]["uid"].clone();
    assert_eq!(job["spec"]["selector"]["matchLabels"]["batch.kubernetes.io/controller-uid"], uid);
    let path = format!("{jobs}/a");
    job["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    let mut job = cluster.put(&path, job).await.ok();
    assert_eq!(job["metadata"]["generation"], 2);
    job["spec"]["suspend"] = json!(false);
    let mut job = cluster.put(&path, job).await.ok();
    job["spec"]["template"]["spec"]["nodeSelector"] = json!({"disk": "hdd"});
    refused(cluster.put(&path, job.clone()).await, "Job.batch \"a\" is invalid: spec.template: Invalid value: {");
    job["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    let words = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
    refused(cluster.put(&format!("{path}/status"), job).await, words);
}

#[tokio::test]
async fn what_a_binding_grants_stays() {
    let cluster = Cluster::new().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let binding = json!({"metadata": {"name": "a"}, "roleRef": {"kind": "Role", "name": "r"}});
    let mut made = cluster.post(path, binding).await.ok();
    assert_eq!(made["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    made["roleRef"]["name"] = json!("admin");
    let words = "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"admin\"}: cannot change roleRef";
    refused(cluster.put(&format!("{path}/a"), made).await, words);
}

#[tokio::test]
async fn the_status_of_a_budget_is_written_apart() {
    let cluster = Cluster::new().await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}});
    let budget = json!({"metadata": {"name": "a"}, "spec": spec, "status": {"disruptionsAllowed": 5}});
    let mut made = cluster.post(budgets, budget).await.ok();
    assert_eq!(made.pointer("/status/disruptionsAllowed").unwrap_or(&json!(0)), 0);
    made["spec"]["minAvailable"] = json!(2);
    made["status"] = json!({"currentHealthy": 3, "desiredHealthy": 1, "disruptionsAllowed": 2, "expectedPods": 3});
    let mut shown = cluster.put(&format!("{budgets}/a/status"), made).await.ok();
    assert_eq!((&shown["spec"]["minAvailable"], &shown["status"]["disruptionsAllowed"]), (&json!(1), &json!(2)));
    assert_eq!(shown["metadata"]["generation"], 1);
    shown["status"]["disruptionsAllowed"] = json!(-1);
    let words = "status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0";
    refused(cluster.put(&format!("{budgets}/a/status"), shown).await, words);
}

#[tokio::test]
async fn an_autoscaler_is_one_object_in_two_versions() {
    let cluster = Cluster::new().await;
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let memory = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let spec = json!({"maxReplicas": 5, "scaleTargetRef": target, "metrics": [memory],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}}});
    let made = cluster.post(&path("v2"), json!({"metadata": {"name": "a"}, "spec": spec})).await.ok();
    let mut old = cluster.get(&format!("{}/a", path("v1"))).await.ok();
    assert_eq!((&old["apiVersion"], &old["metadata"]["uid"]), (&json!("autoscaling/v1"), &made["metadata"]["uid"]));
    old["spec"]["maxReplicas"] = json!(7);
    old["spec"]["targetCPUUtilizationPercentage"] = json!(50);
    cluster.put(&format!("{}/a", path("v1")), old).await.ok();
    let new = cluster.get(&format!("{}/a", path("v2"))).await.ok();
    assert_eq!((&new["spec"]["maxReplicas"], &new["spec"]["behavior"]), (&json!(7), &made["spec"]["behavior"]));
    assert_eq!(new["spec"]["metrics"][0], memory);
    assert_eq!(new["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"], 50);
}

#[tokio::test]
async fn a_slice_keeps_its_kind_of_addresses() {
    let cluster = Cluster::new().await;
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = json!({"metadata": {"name": "a"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]});
    let mut made = cluster.post(path, slice).await.ok();
    made["addressType"] = json!("IPv6");
    made["endpoints"] = json!([{"addresses": ["fd00::1"]}]);
    let words =
        "EndpointSlice.discovery.k8s.io \"a\" is invalid: addressType: Invalid value: \"IPv6\": field is immutable";
    refused(cluster.put(&format!("{path}/a"), made).await, words);
}

#[tokio::test]
async fn a_definition_is_named_for_what_it_defines() {
    let cluster = Cluster::new().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let version = json!({"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}});
    let definition = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"group": "a.b", "scope": "Namespaced",
        "names": {"plural": "foos", "kind": "Foo"}, "versions": [version]}})
    };
    refused(
        cluster.post(path, definition("bars.a.b")).await,
        "metadata.name: Invalid value: \"bars.a.b\": must be spec.names.plural+\".\"+spec.group",
    );
    let mut made = cluster.post(path, definition("foos.a.b")).await.ok();
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] = json!({});
    let words = "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields";
    refused(cluster.put(&format!("{path}/foos.a.b"), made).await, words);
}

#[tokio::test]
async fn who_uses_what_is_deprecated_is_told_so() {
    let cluster = Cluster::new().await;
    let path = "/api/v1/namespaces/default/endpoints";
    let told = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    let made = cluster.post(path, json!({"metadata": {"name": "a"}})).await;
    assert_eq!((made.code, made.warnings()), (201, vec![told]));
    for path in
        [path.to_owned(), format!("{path}/a"), format!("{path}/none"), format!("{path}?watch=1&timeoutSeconds=1")]
    {
        assert_eq!(cluster.get(&path).await.warnings(), [told], "{path}");
    }
    // The field for the profile of a container comes from the annotation, which is warned of.
    let annotations = json!({"container.apparmor.security.beta.kubernetes.io/a": "unconfined"});
    let pod = json!({"metadata": {"name": "a", "annotations": annotations}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let made = cluster.post("/api/v1/namespaces/default/pods", pod).await;
    assert!(made.warnings()[0].contains("deprecated since v1.30"), "{:?}", made.warnings());
    assert_eq!(made.ok()["spec"]["containers"][0]["securityContext"]["appArmorProfile"]["type"], "Unconfined");
}
