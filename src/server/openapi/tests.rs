//! Facts of upstream's own documents, looked up in ours.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::document::{Root, describe, roots, v3};
use crate::server::catalog::catalog;

fn document(path: &str) -> Value {
    let (_, root) = roots().into_iter().find(|(known, _)| known == path).unwrap();
    v3(&root)
}

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    let found = &document["components"]["schemas"][name];
    assert!(found.is_object(), "no {name}");
    found
}

/// Every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut HashSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                found.insert(reference);
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_has_an_id_of_its_own() {
    let mut ids = HashSet::new();
    for (path, root) in roots() {
        let document = v3(&root);
        let mut found = HashSet::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
        }
        for (place, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                assert!(ids.insert(id.clone()), "{id} twice");
                assert!(operation["responses"]["200"].is_object(), "{method} {place}");
                // Whatever is in braces is described.
                let of = |value: &Value| value.as_array().cloned().unwrap_or_default();
                let described: Vec<Value> = [of(&item["parameters"]), of(&operation["parameters"])].concat();
                for name in place.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                    assert!(described.iter().any(|one| one["name"] == name && one["in"] == "path"), "{place}: {name}");
                }
            }
        }
    }
}

#[test]
fn every_kind_and_its_list_are_found_by_group_version_and_kind() {
    for kind in catalog().kinds() {
        let meta = kind.meta();
        let (_, schemas) = describe(&[Root::Resources(meta.group, meta.version)]);
        let gvk = |kind: &str| json!({"group": meta.group, "version": meta.version, "kind": kind});
        let has = |kind: &str| {
            let gvk = gvk(kind);
            let known = |schema: &&Value| {
                schema["x-kubernetes-group-version-kind"].as_array().is_some_and(|all| all.contains(&gvk))
            };
            schemas.values().filter(known).count()
        };
        assert_eq!(has(meta.kind), 1, "{}", meta.kind);
        let lists = usize::from(meta.verbs.contains(&crate::server::strategy::Verb::List));
        assert_eq!(has(&format!("{}List", meta.kind)), lists, "{}", meta.kind);
    }
}

#[test]
fn types_say_how_they_merge_as_upstreams_do() {
    let core = document("api/v1");
    let property = |kind: &str, field: &str, key: &str| {
        schema(&core, &format!("io.k8s.api.core.v1.{kind}"))["properties"][field][format!("x-kubernetes-{key}")].clone()
    };
    for (kind, field, key, expected) in [
        ("PodSpec", "containers", "list-type", json!("map")),
        ("PodSpec", "containers", "list-map-keys", json!(["name"])),
        ("PodSpec", "containers", "patch-merge-key", json!("name")),
        ("PodSpec", "containers", "patch-strategy", json!("merge")),
        ("PodSpec", "volumes", "patch-strategy", json!("merge,retainKeys")),
        ("PodSpec", "nodeSelector", "map-type", json!("atomic")),
        ("PodSpec", "tolerations", "list-type", json!("atomic")),
        ("Container", "ports", "list-map-keys", json!(["containerPort", "protocol"])),
        ("Container", "ports", "patch-merge-key", json!("containerPort")),
        ("Container", "command", "list-type", json!("atomic")),
        ("PodStatus", "podIPs", "patch-merge-key", json!("ip")),
        ("ServiceSpec", "ports", "list-map-keys", json!(["port", "protocol"])),
        ("ServiceSpec", "ports", "patch-merge-key", json!("port")),
        ("NodeSpec", "podCIDRs", "list-type", json!("set")),
        ("NodeSpec", "podCIDRs", "patch-strategy", json!("merge")),
        ("ReplicationControllerSpec", "selector", "map-type", json!("atomic")),
    ] {
        assert_eq!(property(kind, field, key), expected, "{kind}.{field} {key}");
    }
    assert_eq!(property("PodSpec", "hostname", "list-type"), Value::Null);
    let atomic = schema(&core, "io.k8s.api.core.v1.SecretKeySelector");
    assert_eq!(atomic["x-kubernetes-map-type"], "atomic");
    assert_eq!(atomic["required"], json!(["key"]));
    let port = schema(&core, "io.k8s.api.core.v1.ContainerPort");
    assert_eq!(port["properties"]["protocol"]["default"], "TCP");
    assert_eq!(port["required"], json!(["containerPort"]));
    let profile = schema(&core, "io.k8s.api.core.v1.SeccompProfile");
    assert_eq!(profile["x-kubernetes-unions"][0]["fields-to-discriminateBy"]["localhostProfile"], "LocalhostProfile");
    let strategy = document("apis/apps/v1");
    let strategy = &schema(&strategy, "io.k8s.api.apps.v1.DeploymentSpec")["properties"]["strategy"];
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    assert_eq!(strategy["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy");
}

#[test]
fn types_have_upstreams_forms() {
    let core = document("api/v1");
    let pod = schema(&core, "io.k8s.api.core.v1.Pod");
    assert_eq!(pod["required"], Value::Null, "metadata may be left out");
    assert_eq!(pod["x-kubernetes-group-version-kind"], json!([{"group": "", "version": "v1", "kind": "Pod"}]));
    assert_eq!(
        pod["properties"]["spec"]["allOf"],
        json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}])
    );
    let list = schema(&core, "io.k8s.api.core.v1.PodList");
    assert_eq!(list["required"], json!(["items"]));
    let either = schema(&core, "io.k8s.apimachinery.pkg.util.intstr.IntOrString");
    assert_eq!(either["format"], "int-or-string");
    let quantity = schema(&core, "io.k8s.apimachinery.pkg.api.resource.Quantity");
    assert_eq!(quantity["oneOf"], json!([{"type": "string"}, {"type": "number"}]));
    let time = schema(&core, "io.k8s.apimachinery.pkg.apis.meta.v1.Time");
    assert_eq!((&time["type"], &time["format"]), (&json!("string"), &json!("date-time")));
    assert_eq!(schema(&core, "io.k8s.api.core.v1.PodSpec")["required"], json!(["containers"]));
    let options = schema(&core, "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    assert!(options["x-kubernetes-group-version-kind"].as_array().unwrap().len() > 20);
    let crd = document("apis/apiextensions.k8s.io/v1");
    let anything = schema(&crd, "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON");
    assert_eq!(anything["type"], Value::Null);
}

#[test]
fn paths_have_upstreams_shape() {
    let core = document("api/v1");
    let apps = document("apis/apps/v1");
    let at = |path: &str| {
        let document = if path.starts_with("/api/") { &core } else { &apps };
        document["paths"][path].clone()
    };
    let deployment = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";
    for (path, method, id, action, kind) in [
        ("/apis/apps/v1/deployments", "get", "listAppsV1DeploymentForAllNamespaces", "list", "Deployment"),
        (
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            "delete",
            "deleteAppsV1CollectionNamespacedDeployment",
            "deletecollection",
            "Deployment",
        ),
        (
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            "post",
            "createAppsV1NamespacedDeployment",
            "post",
            "Deployment",
        ),
        (deployment, "get", "readAppsV1NamespacedDeployment", "get", "Deployment"),
        (deployment, "put", "replaceAppsV1NamespacedDeployment", "put", "Deployment"),
        ("/api/v1/nodes/{name}/status", "patch", "patchCoreV1NodeStatus", "patch", "Node"),
        ("/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize", "put", "Namespace"),
        (
            "/api/v1/namespaces/{namespace}/pods/{name}/exec",
            "get",
            "connectCoreV1GetNamespacedPodExec",
            "connect",
            "PodExecOptions",
        ),
        (
            "/api/v1/nodes/{name}/proxy/{path}",
            "options",
            "connectCoreV1OptionsNodeProxyWithPath",
            "connect",
            "NodeProxyOptions",
        ),
        ("/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog", "get", "Pod"),
        (
            "/api/v1/namespaces/{namespace}/pods/{name}/eviction",
            "post",
            "createCoreV1NamespacedPodEviction",
            "post",
            "Eviction",
        ),
        ("/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces", "watchlist", "Pod"),
        ("/api/v1/watch/namespaces/{name}", "get", "watchCoreV1Namespace", "watch", "Namespace"),
    ] {
        let operation = &at(path)[method];
        assert_eq!(operation["operationId"], id, "{method} {path}");
        assert_eq!(operation["x-kubernetes-action"], action, "{method} {path}");
        assert_eq!(operation["x-kubernetes-group-version-kind"]["kind"], kind, "{method} {path}");
    }
    assert_eq!(at("/apis/apps/v1/")["get"]["operationId"], "getAppsV1APIResources");
    let scale = &at(&format!("{deployment}/scale"))["put"];
    assert_eq!(
        scale["x-kubernetes-group-version-kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(
        scale["requestBody"]["content"]["*/*"]["schema"]["$ref"],
        "#/components/schemas/io.k8s.api.autoscaling.v1.Scale"
    );
}

#[test]
fn parameters_stand_once_where_every_operation_takes_them() {
    let apps = document("apis/apps/v1");
    let names = |value: &Value| -> Vec<String> {
        let all = value.as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let item = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(names(&item["parameters"]), ["name", "namespace", "pretty"]);
    assert_eq!(names(&item["patch"]["parameters"]), ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert_eq!(names(&item["get"]["parameters"]), [""; 0]);
    assert_eq!(item["patch"]["requestBody"]["content"].as_object().unwrap().len(), 4);
    assert_eq!(item["patch"]["responses"]["201"]["description"], "Created");
    let all = &apps["paths"]["/apis/apps/v1/deployments"];
    assert!(names(&all["parameters"]).contains(&"watch".to_owned()));
    assert_eq!(all["get"]["parameters"], Value::Null);
    let reviews = document("apis/authorization.k8s.io/v1");
    let review = &reviews["paths"]["/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"];
    assert_eq!(names(&review["parameters"]), ["dryRun", "fieldManager", "fieldValidation", "pretty"]);
}

#[test]
fn version_two_says_the_same_in_older_words() {
    let document = super::v2::document();
    assert_eq!(document["swagger"], "2.0");
    let mut found = HashSet::new();
    references(&document, &mut found);
    assert!(found.iter().all(|reference| reference.starts_with("#/definitions/")));
    assert!(found.iter().all(|reference| document.pointer(&reference[1..]).is_some()));
    let definition = |name: &str| &document["definitions"][format!("io.k8s.{name}")];
    let strategy = &definition("api.apps.v1.DeploymentSpec")["properties"]["strategy"];
    assert_eq!(strategy["$ref"], "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy");
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    let either = definition("apimachinery.pkg.util.intstr.IntOrString");
    assert_eq!((&either["type"], &either["format"]), (&json!("string"), &json!("int-or-string")));
    assert_eq!(definition("apimachinery.pkg.api.resource.Quantity")["type"], "string");
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["consumes"].as_array().unwrap().len(), 4);
    assert_eq!(patch["parameters"][0]["in"], "body");
    assert_eq!(patch["parameters"][1]["type"], "string");
    assert_eq!(patch["responses"]["200"]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Pod");
    // Every path of every document of version 3 is there.
    let paths: usize = roots().iter().map(|(_, root)| v3(root)["paths"].as_object().unwrap().len()).sum();
    assert_eq!(document["paths"].as_object().unwrap().len(), paths);
}
