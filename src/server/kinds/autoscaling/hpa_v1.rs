//! HorizontalPodAutoscaler autoscaling/v1: a narrow view of what is stored as v2. What v1 has no field for
//! travels in annotations, so that a client that writes back what it read loses nothing.

use k8s_openapi::api::autoscaling::v1::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus,
};
use k8s_openapi::api::autoscaling::v2;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut HorizontalPodAutoscaler) {
        absent(&mut object.spec.min_replicas, 1);
        // The default of the version that is stored: without any metric, the CPU is looked at.
        let others = object.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(METRICS));
        if !others {
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
    let annotations = object.meta_mut().annotations.as_mut()?;
    let text = annotations.remove(name)?;
    if annotations.is_empty() {
        object.meta_mut().annotations = None;
    }
    serde_json::from_str(&text).ok()
}

fn put<T: Serialize>(object: &mut dyn Object, name: &str, value: &T) {
    if let Ok(text) = serde_json::to_string(value) {
        object.meta_mut().annotations.get_or_insert_default().insert(name.to_owned(), text);
    }
}

fn to_v2(mut object: HorizontalPodAutoscaler) -> v2::HorizontalPodAutoscaler {
    let mut metrics: Vec<v2::MetricSpec> = take(&mut object, METRICS).unwrap_or_default();
    metrics.extend(object.spec.target_cpu_utilization_percentage.map(cpu_utilization));
    let mut current: Vec<v2::MetricStatus> = take(&mut object, CURRENT_METRICS).unwrap_or_default();
    let conditions = take(&mut object, CONDITIONS);
    let behavior = take(&mut object, BEHAVIOR);
    let target = object.spec.scale_target_ref;
    let status = object.status.map(|status| {
        current.extend(status.current_cpu_utilization_percentage.map(current_cpu));
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
    let mut others = spec.metrics.unwrap_or_default();
    let cpu = others.iter().position(|metric| is_cpu_utilization(metric).is_some());
    let cpu = cpu.and_then(|at| is_cpu_utilization(&others.remove(at)));
    let mut status = object.status;
    let mut current = status.as_mut().and_then(|status| status.current_metrics.take()).unwrap_or_default();
    let conditions = status.as_mut().and_then(|status| status.conditions.take());
    let now = current.iter().position(|metric| is_current_cpu(metric).is_some());
    let now = now.and_then(|at| is_current_cpu(&current.remove(at)));
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
        put(&mut out, BEHAVIOR, &behavior);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_through_v1() {
        let memory = serde_json::json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
                ]
            },
            "status": {"desiredReplicas": 2, "currentReplicas": 1}
        });
        let stored: v2::HorizontalPodAutoscaler = serde_json::from_value(memory).unwrap();
        let seen = from_v2(stored.clone());
        assert_eq!(seen.spec.target_cpu_utilization_percentage, Some(80));
        assert_eq!(to_v2(seen), stored);
    }
}
