//! Good and bad autoscalers, in both versions.

use serde_json::{Value, json};

use crate::server::kinds::table_tests::Sound;

fn sound(version: &str) -> Sound {
    let spec =
        json!({"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}});
    Sound::new(version, "HorizontalPodAutoscaler", json!({"spec": spec}))
}

#[test]
fn the_rest_of_a_behavior_is_filled_in() {
    let object = sound("autoscaling/v2").stored(json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": "Min"}}}}));
    let behavior = &object["spec"]["behavior"];
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    assert_eq!(behavior["scaleDown"], json!({"selectPolicy": "Min", "policies": [percent]}));
    assert_eq!(behavior["scaleUp"]["policies"][0], json!({"type": "Pods", "value": 4, "periodSeconds": 15}));
    assert_eq!(behavior["scaleUp"]["stabilizationWindowSeconds"], 0);
    let old = sound("autoscaling/v1").stored(json!({}));
    assert_eq!((&old["spec"]["minReplicas"], &old["spec"]["targetCPUUtilizationPercentage"]), (&json!(1), &json!(80)));
}

#[test]
fn bad_ones_are_refused_in_both_versions() {
    for version in ["autoscaling/v1", "autoscaling/v2"] {
        sound(version).refuses(&[
            (json!({"spec": {"scaleTargetRef": {"name": ""}}}), "spec.scaleTargetRef.name: Required value"),
            (
                json!({"spec": {"scaleTargetRef": {"apiVersion": "v1"}}}),
                "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group",
            ),
            (
                json!({"spec": {"scaleTargetRef": {"apiVersion": "a/b/c"}}}),
                "spec.scaleTargetRef.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ),
        ]);
        let zero = json!({"spec": {"minReplicas": 0}});
        let metrics = "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas";
        let replicas = "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1";
        assert_eq!(sound(version).create(zero.clone()), [replicas, metrics]);
        assert_eq!(sound(version).rewritten(zero).0, [metrics]);
        let of_core = json!({"spec": {"scaleTargetRef": {"apiVersion": "v1", "kind": "ReplicationController"}}});
        sound(version).accepts(&[of_core]);
        let status = sound(version).status(json!(null), json!({"currentReplicas": -1, "desiredReplicas": 1}));
        assert_eq!(status, ["status.currentReplicas: Invalid value: -1: must be greater than or equal to 0"]);
    }
}

#[test]
fn a_bad_version_of_the_target_stays_while_the_target_does() {
    let target = |kind: &str, most: i32| json!({"spec": {"maxReplicas": most, "scaleTargetRef": {"kind": kind, "apiVersion": "v1"}}});
    for version in ["autoscaling/v1", "autoscaling/v2"] {
        let (errors, _) = sound(version).update(target("Deployment", 5), target("Deployment", 6));
        assert!(errors.is_empty(), "{errors:?}");
        let (errors, _) = sound(version).update(target("Deployment", 5), target("ReplicaSet", 5));
        assert_eq!(
            errors,
            ["spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group"]
        );
    }
}

#[test]
fn metrics_say_what_they_measure() {
    let metric = |metric: Value| json!({"spec": {"metrics": [metric]}});
    let target = json!({"type": "AverageValue", "averageValue": "10"});
    sound("autoscaling/v2").accepts(&[
        metric(json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": target}})),
        metric(json!({"type": "ContainerResource",
            "containerResource": {"name": "cpu", "container": "a", "target": {"type": "Utilization", "averageUtilization": 50}}})),
    ]);
    sound("autoscaling/v2").refuses(&[
        (
            metric(json!({"type": "Pods"})),
            "spec.metrics[0].pods: Required value: must populate information for the given metric source",
        ),
        (
            metric(json!({"type": "Pods", "object": {"describedObject": {"kind": "Service", "name": "a"},
                "metric": {"name": "rps"}, "target": target}})),
            "spec.metrics[0].pods: Required value: must populate information for the given metric source",
        ),
        (
            metric(json!({"type": "Pods", "pods": {"metric": {"name": ""}, "target": target}})),
            "spec.metrics[0].pods.metric.name: Required value: must specify a metric name",
        ),
        (
            metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}})),
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
        ),
        (
            metric(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}})),
            "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        ),
        (
            metric(json!({"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "0"}}})),
            "spec.metrics[0].external.target.value: Invalid value: \"0\": must be positive",
        ),
        (
            metric(json!({"type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": "A", "target": {"type": "Utilization", "averageUtilization": 50}}})),
            "spec.metrics[0].containerResource.container: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        (
            json!({"spec": {"behavior": {"scaleUp": {"selectPolicy": ""}}}}),
            "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"\": supported values: \"Disabled\", \"Max\", \"Min\"",
        ),
        (
            json!({"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}}}),
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ),
        (
            json!({"spec": {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}}}),
            "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ),
    ]);
}

#[test]
fn a_row_shows_current_and_wanted() {
    let cells = sound("autoscaling/v2").cells(json!({"status": {"desiredReplicas": 2, "currentReplicas": 2,
        "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 42}}}]}}));
    assert_eq!(cells, [json!("x"), json!("Deployment/web"), json!("cpu: 42%/80%"), json!("1"), json!(5), json!(2)]);
}

#[test]
fn annotations_of_v1_mean_nothing_in_v2() {
    let annotations = json!({"autoscaling.alpha.kubernetes.io/metrics": "[]", "a": "b"});
    let stored = sound("autoscaling/v2").stored(json!({"metadata": {"annotations": annotations}}));
    assert_eq!(stored["metadata"]["annotations"], json!({"a": "b"}));
}
