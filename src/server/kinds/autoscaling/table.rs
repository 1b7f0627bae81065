//! Autoscalers as `kubectl get hpa` shows them, whichever version is asked for.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};
use serde_json::Value;

use crate::server::kinds::cell::{self, UNKNOWN, UNSET};
use crate::server::strategy::Column;

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::string(
        "Reference",
        "scaleTargetRef points to the target resource to scale, and is used to the pods for which metrics should be collected, as well as to actually change the replica count.",
    ),
    Column::string(
        "Targets",
        "metrics contains the specifications for which to use to calculate the desired replica count (the maximum replica count across all metrics will be used).  The desired replica count is calculated multiplying the ratio between the target value and the current value by the current number of pods.  Ergo, metrics used must decrease as the pod count is increased, and vice-versa.  See the individual metric source types for more information about how each type of metric must respond.",
    ),
    Column::string(
        "MinPods",
        "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.  It defaults to 1 pod.  minReplicas is allowed to be 0 if the alpha feature gate HPAScaleToZero is enabled and at least one Object or External metric is configured.  Scaling is active as long as at least one metric value is available.",
    ),
    Column::string(
        "MaxPods",
        "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up. It cannot be less that minReplicas.",
    ),
    Column::string(
        "Replicas",
        "currentReplicas is current number of replicas of pods managed by this autoscaler, as last seen by the autoscaler.",
    ),
    Column::AGE,
];

pub fn cells(object: &HorizontalPodAutoscaler, now: Timestamp) -> Vec<Value> {
    let spec = &object.spec;
    let target = &spec.scale_target_ref;
    let status = object.status.clone().unwrap_or_default();
    vec![
        cell::name(&object.metadata),
        format!("{}/{}", target.kind, target.name).into(),
        metrics(spec.metrics.as_deref().unwrap_or_default(), status.current_metrics.as_deref().unwrap_or_default())
            .into(),
        spec.min_replicas.map_or_else(|| UNSET.to_owned(), |number| number.to_string()).into(),
        spec.max_replicas.into(),
        status.current_replicas.unwrap_or(0).into(),
        cell::age(&object.metadata, now),
    ]
}

/// At most two metrics, then how many more there are.
fn metrics(specs: &[MetricSpec], statuses: &[MetricStatus]) -> String {
    if specs.is_empty() {
        return cell::NONE.to_owned();
    }
    let mut shown: Vec<_> = specs.iter().enumerate().map(|(at, spec)| metric(spec, statuses.get(at))).collect();
    let more = shown.len().saturating_sub(2);
    shown.truncate(2);
    let text = shown.join(", ");
    if more > 0 { format!("{text} + {more} more...") } else { text }
}

fn metric(spec: &MetricSpec, status: Option<&MetricStatus>) -> String {
    if let Some(source) = &spec.resource {
        let current = status.and_then(|status| status.resource.as_ref()).map(|status| &status.current);
        return format!("{}: {}", source.name, pair(&source.target, current));
    }
    if let Some(source) = &spec.container_resource {
        let current = status.and_then(|status| status.container_resource.as_ref()).map(|status| &status.current);
        return format!("{}: {}", source.name, pair(&source.target, current));
    }
    if let Some(source) = &spec.pods {
        let current = status.and_then(|status| status.pods.as_ref()).map(|status| &status.current);
        return pair(&source.target, current);
    }
    if let Some(source) = &spec.object {
        let current = status.and_then(|status| status.object.as_ref()).map(|status| &status.current);
        return averaged(&source.target, current);
    }
    if let Some(source) = &spec.external {
        let current = status.and_then(|status| status.external.as_ref()).map(|status| &status.current);
        return averaged(&source.target, current);
    }
    "<unknown type>".to_owned()
}

fn averaged(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    let suffix = if target.average_value.is_some() { " (avg)" } else { "" };
    format!("{}{suffix}", pair(target, current))
}

/// `current/wanted`.
fn pair(target: &MetricTarget, current: Option<&MetricValueStatus>) -> String {
    let (wanted, have) = if let Some(wanted) = &target.average_value {
        (wanted.0.clone(), current.and_then(|current| current.average_value.as_ref()).map(|value| value.0.clone()))
    } else if let Some(wanted) = &target.value {
        (wanted.0.clone(), current.and_then(|current| current.value.as_ref()).map(|value| value.0.clone()))
    } else {
        let percent = |number: i32| format!("{number}%");
        let wanted = target.average_utilization.map_or_else(|| "<auto>".to_owned(), percent);
        (wanted, current.and_then(|current| current.average_utilization).map(percent))
    };
    format!("{}/{wanted}", have.as_deref().unwrap_or(UNKNOWN))
}
