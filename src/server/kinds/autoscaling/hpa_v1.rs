//! HorizontalPodAutoscaler autoscaling/v1: a narrow view of what is stored as v2. What v1 has no field for
//! travels in annotations, so that a client that writes back what it read loses nothing.

use k8s_openapi::api::autoscaling::v1::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus,
};
use k8s_openapi::api::autoscaling::v2;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::annotations::{Behavior, Current, Metric};
use crate::api::field::Errors;
use crate::api::object::Object;
use crate::server::kinds::defaults::absent;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct HorizontalPodAutoscalersV1;

impl Strategy for HorizontalPodAutoscalersV1 {
    type Kind = HorizontalPodAutoscaler;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["hpa"],
            categories: &["all"],
            subresources: const { &[Subresource::status("HorizontalPodAutoscaler")] },
            stored_as: Some(("autoscaling", "horizontalpodautoscalers")),
            ..Meta::namespaced::<HorizontalPodAutoscaler>("horizontalpodautoscalers")
        }
    }

    fn to_stored(&self, object: &HorizontalPodAutoscaler) -> Option<Box<dyn Object>> {
        Some(Box::new(to_v2(object.clone())))
    }

    fn read_stored(&self, json: &[u8]) -> serde_json::Result<HorizontalPodAutoscaler> {
        serde_json::from_slice(json).map(from_v2)
    }

    fn prepare_create(&self, object: &mut HorizontalPodAutoscaler) {
        object.status = Some(Default::default());
        keep(object, None, &OF_STATUS);
    }

    fn prepare_update(&self, new: &mut HorizontalPodAutoscaler, old: &HorizontalPodAutoscaler) {
        new.status = old.status.clone();
        keep(new, Some(old), &OF_STATUS);
    }

    fn prepare_status(&self, new: &mut HorizontalPodAutoscaler, old: &HorizontalPodAutoscaler) {
        new.spec = old.spec.clone();
        keep(new, Some(old), &OF_SPEC);
    }

    fn same_spec(&self, new: &HorizontalPodAutoscaler, old: &HorizontalPodAutoscaler) -> bool {
        let of_spec = |object: &HorizontalPodAutoscaler| OF_SPEC.map(|name| annotation(object, name).cloned());
        new.spec == old.spec && of_spec(new) == of_spec(old)
    }

    fn default(&self, object: &mut HorizontalPodAutoscaler) {
        absent(&mut object.spec.min_replicas, 1);
        // The default of the version that is stored: without any metric, the CPU is looked at.
        if annotation(object, METRICS).is_none() {
            absent(&mut object.spec.target_cpu_utilization_percentage, 80);
        }
    }

    fn columns(&self) -> &'static [Column] {
        super::table::COLUMNS
    }

    fn cells(&self, object: &HorizontalPodAutoscaler, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(super::table::cells(&to_v2(object.clone()), now))
    }

    fn validate(&self, new: &HorizontalPodAutoscaler, old: Option<&HorizontalPodAutoscaler>) -> Errors {
        super::validate::autoscaler(&to_v2(new.clone()), old.cloned().map(to_v2).as_ref())
    }

    fn validate_status(&self, new: &HorizontalPodAutoscaler, _old: &HorizontalPodAutoscaler) -> Errors {
        super::validate::status(&to_v2(new.clone()))
    }
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// What travels in annotations, by the part of the object that it is of.
const OF_SPEC: [&str; 2] = [METRICS, BEHAVIOR];
const OF_STATUS: [&str; 2] = [CURRENT_METRICS, CONDITIONS];

fn annotation<'a>(object: &'a HorizontalPodAutoscaler, name: &str) -> Option<&'a String> {
    object.metadata.annotations.as_ref()?.get(name)
}

/// Puts annotations back as they were.
fn keep(new: &mut HorizontalPodAutoscaler, old: Option<&HorizontalPodAutoscaler>, names: &[&str]) {
    for name in names {
        match old.and_then(|old| annotation(old, name)) {
            Some(text) => {
                let annotations = new.metadata.annotations.get_or_insert_default();
                annotations.insert((*name).to_owned(), text.clone());
            }
            None => drop(forget(new, name)),
        }
    }
}

fn forget(object: &mut dyn Object, name: &str) -> Option<String> {
    let annotations = &mut object.meta_mut().annotations;
    let text = annotations.as_mut()?.remove(name);
    annotations.take_if(|annotations| text.is_some() && annotations.is_empty());
    text
}

/// Of an object of the version that needs none of them: only this one writes and reads these annotations.
pub(super) fn forget_all(object: &mut dyn Object) {
    for name in OF_SPEC.iter().chain(&OF_STATUS) {
        forget(object, name);
    }
}

fn is_cpu_utilization(metric: &v2::MetricSpec) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|resource| resource.name == "cpu")?;
    resource.target.average_utilization
}

pub(super) fn cpu_utilization(percent: i32) -> v2::MetricSpec {
    let target =
        v2::MetricTarget { type_: "Utilization".to_owned(), average_utilization: Some(percent), ..Default::default() };
    let resource = Some(v2::ResourceMetricSource { name: "cpu".to_owned(), target });
    v2::MetricSpec { type_: "Resource".to_owned(), resource, ..Default::default() }
}

fn current_cpu(percent: i32) -> v2::MetricStatus {
    let current = v2::MetricValueStatus { average_utilization: Some(percent), ..Default::default() };
    let resource = Some(v2::ResourceMetricStatus { name: "cpu".to_owned(), current });
    v2::MetricStatus { type_: "Resource".to_owned(), resource, ..Default::default() }
}

fn is_current_cpu(metric: &v2::MetricStatus) -> Option<i32> {
    let resource = metric.resource.as_ref().filter(|resource| resource.name == "cpu")?;
    resource.current.average_utilization
}

/// Removes an annotation and reads it; one that is not ours to read counts as absent, as upstream has it.
fn take<T: DeserializeOwned>(object: &mut dyn Object, name: &str) -> Option<T> {
    serde_json::from_str(&forget(object, name)?).ok()
}

fn put<T: Serialize>(object: &mut dyn Object, name: &str, value: &T) {
    if let Ok(text) = serde_json::to_string(value) {
        object.meta_mut().annotations.get_or_insert_default().insert(name.to_owned(), text);
    }
}

fn to_v2(mut object: HorizontalPodAutoscaler) -> v2::HorizontalPodAutoscaler {
    let metrics: Vec<Metric> = take(&mut object, METRICS).unwrap_or_default();
    let mut metrics: Vec<v2::MetricSpec> = metrics.into_iter().map(Into::into).collect();
    metrics.extend(object.spec.target_cpu_utilization_percentage.map(cpu_utilization));
    let current: Option<Vec<Current>> = take(&mut object, CURRENT_METRICS);
    let conditions = take(&mut object, CONDITIONS);
    let behavior = take::<Behavior>(&mut object, BEHAVIOR).map(Into::into);
    let target = object.spec.scale_target_ref;
    let status = object.status.map(|status| {
        let current: Vec<v2::MetricStatus> = match current {
            Some(current) => current.into_iter().map(Into::into).collect(),
            None => status.current_cpu_utilization_percentage.map(current_cpu).into_iter().collect(),
        };
        v2::HorizontalPodAutoscalerStatus {
            conditions,
            current_metrics: Some(current).filter(|metrics| !metrics.is_empty()),
            current_replicas: Some(status.current_replicas),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }
    });
    v2::HorizontalPodAutoscaler {
        metadata: object.metadata,
        spec: v2::HorizontalPodAutoscalerSpec {
            behavior,
            max_replicas: object.spec.max_replicas,
            metrics: Some(metrics).filter(|metrics| !metrics.is_empty()),
            min_replicas: object.spec.min_replicas,
            scale_target_ref: v2::CrossVersionObjectReference {
                api_version: target.api_version,
                kind: target.kind,
                name: target.name,
            },
        },
        status,
    }
}

fn from_v2(object: v2::HorizontalPodAutoscaler) -> HorizontalPodAutoscaler {
    let spec = object.spec;
    let metrics = spec.metrics.unwrap_or_default();
    let cpu = metrics.iter().filter_map(is_cpu_utilization).next_back();
    let others = metrics.into_iter().filter(|metric| is_cpu_utilization(metric).is_none());
    let others: Vec<Metric> = others.map(Into::into).collect();
    let mut status = object.status;
    let current = status.as_mut().and_then(|status| status.current_metrics.take()).unwrap_or_default();
    let conditions = status.as_mut().and_then(|status| status.conditions.take());
    let now = current.iter().filter_map(is_current_cpu).next_back();
    // All of them, for their values besides the percentage.
    let current: Vec<Current> = current.into_iter().map(Into::into).collect();
    let target = spec.scale_target_ref;
    let mut out = HorizontalPodAutoscaler {
        metadata: object.metadata,
        spec: HorizontalPodAutoscalerSpec {
            max_replicas: spec.max_replicas,
            min_replicas: spec.min_replicas,
            scale_target_ref: CrossVersionObjectReference {
                api_version: target.api_version,
                kind: target.kind,
                name: target.name,
            },
            target_cpu_utilization_percentage: cpu,
        },
        status: status.map(|status| HorizontalPodAutoscalerStatus {
            current_cpu_utilization_percentage: now,
            current_replicas: status.current_replicas.unwrap_or_default(),
            desired_replicas: status.desired_replicas,
            last_scale_time: status.last_scale_time,
            observed_generation: status.observed_generation,
        }),
    };
    if !others.is_empty() {
        put(&mut out, METRICS, &others);
    }
    if !current.is_empty() {
        put(&mut out, CURRENT_METRICS, &current);
    }
    if let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) {
        put(&mut out, CONDITIONS, &conditions);
    }
    if let Some(behavior) = spec.behavior {
        put(&mut out, BEHAVIOR, &Behavior::from(behavior));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_lost_through_v1() {
        let target = |kind: &str, field: &str, value: Value| json!({"type": kind, field: value});
        let service = json!({"kind": "Service", "name": "s", "apiVersion": "v1"});
        let memory = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10,
                    "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "memory", "target": target("Utilization", "averageUtilization", json!(70))}},
                    {"type": "Pods", "pods": {"metric": {"name": "p"}, "target": target("AverageValue", "averageValue", json!("1"))}},
                    {"type": "Object", "object": {"describedObject": service, "metric": {"name": "o"},
                        "target": target("AverageValue", "averageValue", json!("2"))}},
                    {"type": "External", "external": {"metric": {"name": "e"}, "target": target("Value", "value", json!("3"))}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                        "target": target("AverageValue", "averageValue", json!("4"))}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": target("Utilization", "averageUtilization", json!(80))}}
                ]
            },
            "status": {"desiredReplicas": 2, "currentReplicas": 1, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 42, "averageValue": "1m"}}}]}
        });
        let stored: v2::HorizontalPodAutoscaler = serde_json::from_value(memory).unwrap();
        let seen = from_v2(stored.clone());
        assert_eq!(seen.spec.target_cpu_utilization_percentage, Some(80));
        let status = seen.status.as_ref().unwrap();
        assert_eq!(status.current_cpu_utilization_percentage, Some(42));
        assert_eq!(to_v2(seen), stored);
    }

    #[test]
    fn annotations_are_in_the_shapes_of_v1() {
        let stored = json!({
            "metadata": {"name": "web"},
            "spec": {
                "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}},
                "metrics": [
                    {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "o"},
                        "target": {"type": "AverageValue", "averageValue": "2"}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}}
                ]
            },
            "status": {"desiredReplicas": 2, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 42}}}]}
        });
        let seen = from_v2(serde_json::from_value(stored).unwrap());
        let expected = [
            (
                METRICS,
                r#"[{"type":"Object","object":{"target":{"kind":"Service","name":"s"},"metricName":"o","targetValue":"0","averageValue":"2"}},{"type":"Resource","resource":{"name":"memory","targetAverageUtilization":70}}]"#,
            ),
            (
                CURRENT_METRICS,
                r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":42,"currentAverageValue":"0"}}]"#,
            ),
            (
                BEHAVIOR,
                r#"{"ScaleUp":{"StabilizationWindowSeconds":null,"SelectPolicy":null,"Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":null}"#,
            ),
        ];
        for (name, text) in expected {
            assert_eq!(annotation(&seen, name).map(String::as_str), Some(text));
        }
    }

    #[test]
    fn the_status_in_annotations_is_not_the_clients() {
        let object = |annotations: Value| {
            let spec = json!({"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
            let object = json!({"metadata": {"name": "x", "annotations": annotations}, "spec": spec});
            serde_json::from_value::<HorizontalPodAutoscaler>(object).unwrap()
        };
        let (old, mut new) =
            (object(json!({CONDITIONS: "old"})), object(json!({CONDITIONS: "new", CURRENT_METRICS: "new"})));
        HorizontalPodAutoscalersV1.prepare_update(&mut new, &old);
        assert_eq!(new.metadata.annotations, old.metadata.annotations);
        HorizontalPodAutoscalersV1.prepare_create(&mut new);
        assert_eq!(new.metadata.annotations, None);
    }
}
