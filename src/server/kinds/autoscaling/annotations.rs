//! What autoscaling/v1 has no field for, as its annotations write it: metrics in the shape that v1 once had for them, and
//! behavior as upstream's encoder writes its internal type. Pure; called by `hpa_v1`.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ContainerResourceMetricStatus, CrossVersionObjectReference, ExternalMetricSource,
    ExternalMetricStatus, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior, MetricIdentifier,
    MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricSource, ObjectMetricStatus,
    PodsMetricSource, PodsMetricStatus, ResourceMetricSource, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

macro_rules! shapes {
    ($($case:literal $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(#[derive(Serialize, Deserialize, Default)]
        #[serde(rename_all = $case, default)]
        pub struct $name { $($(#[$attribute])* $field: $type,)* })*
    };
}

shapes! {
    "camelCase" Metric {
        #[serde(rename = "type")] kind: String,
        #[serde(skip_serializing_if = "Option::is_none")] object: Option<OfObject>,
        #[serde(skip_serializing_if = "Option::is_none")] pods: Option<OfPods>,
        #[serde(skip_serializing_if = "Option::is_none")] resource: Option<OfResource>,
        #[serde(skip_serializing_if = "Option::is_none")] container_resource: Option<OfResource>,
        #[serde(skip_serializing_if = "Option::is_none")] external: Option<OfExternal>,
    }
    "camelCase" OfObject {
        target: CrossVersionObjectReference,
        metric_name: String,
        target_value: Number,
        #[serde(skip_serializing_if = "Option::is_none")] selector: Option<LabelSelector>,
        #[serde(skip_serializing_if = "Option::is_none")] average_value: Option<Quantity>,
    }
    "camelCase" OfPods {
        metric_name: String,
        target_average_value: Number,
        #[serde(skip_serializing_if = "Option::is_none")] selector: Option<LabelSelector>,
    }
    "camelCase" OfResource {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")] target_average_utilization: Option<i32>,
        #[serde(skip_serializing_if = "Option::is_none")] target_average_value: Option<Quantity>,
        #[serde(skip_serializing_if = "String::is_empty")] container: String,
    }
    "camelCase" OfExternal {
        metric_name: String,
        #[serde(skip_serializing_if = "Option::is_none")] metric_selector: Option<LabelSelector>,
        #[serde(skip_serializing_if = "Option::is_none")] target_value: Option<Quantity>,
        #[serde(skip_serializing_if = "Option::is_none")] target_average_value: Option<Quantity>,
    }
    "camelCase" Current {
        #[serde(rename = "type")] kind: String,
        #[serde(skip_serializing_if = "Option::is_none")] object: Option<CurrentObject>,
        #[serde(skip_serializing_if = "Option::is_none")] pods: Option<CurrentPods>,
        #[serde(skip_serializing_if = "Option::is_none")] resource: Option<CurrentResource>,
        #[serde(skip_serializing_if = "Option::is_none")] container_resource: Option<CurrentResource>,
        #[serde(skip_serializing_if = "Option::is_none")] external: Option<CurrentExternal>,
    }
    "camelCase" CurrentObject {
        target: CrossVersionObjectReference,
        metric_name: String,
        current_value: Number,
        #[serde(skip_serializing_if = "Option::is_none")] selector: Option<LabelSelector>,
        #[serde(skip_serializing_if = "Option::is_none")] average_value: Option<Quantity>,
    }
    "camelCase" CurrentPods {
        metric_name: String,
        current_average_value: Number,
        #[serde(skip_serializing_if = "Option::is_none")] selector: Option<LabelSelector>,
    }
    "camelCase" CurrentResource {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")] current_average_utilization: Option<i32>,
        current_average_value: Number,
        #[serde(skip_serializing_if = "String::is_empty")] container: String,
    }
    "camelCase" CurrentExternal {
        metric_name: String,
        #[serde(skip_serializing_if = "Option::is_none")] metric_selector: Option<LabelSelector>,
        current_value: Number,
        #[serde(skip_serializing_if = "Option::is_none")] current_average_value: Option<Quantity>,
    }
    "PascalCase" Behavior {
        #[serde(alias = "scaleUp")] scale_up: Option<Rules>,
        #[serde(alias = "scaleDown")] scale_down: Option<Rules>,
    }
    "PascalCase" Rules {
        #[serde(alias = "stabilizationWindowSeconds")] stabilization_window_seconds: Option<i32>,
        #[serde(alias = "selectPolicy")] select_policy: Option<String>,
        #[serde(alias = "policies")] policies: Option<Vec<Policy>>,
        #[serde(alias = "tolerance")] tolerance: Option<Quantity>,
    }
    "PascalCase" Policy {
        #[serde(rename = "Type", alias = "type")] kind: String,
        #[serde(alias = "value")] value: i32,
        #[serde(alias = "periodSeconds")] period_seconds: i32,
    }
}

/// A quantity that v1 always writes: without one it is zero.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(Quantity);

impl Default for Number {
    fn default() -> Self {
        Self(Quantity("0".to_owned()))
    }
}

impl Number {
    fn of(quantity: Option<Quantity>) -> Self {
        quantity.map(Self).unwrap_or_default()
    }

    /// Zero where another quantity says what is meant stands for none.
    fn beside(self, other: Option<&Quantity>) -> Option<Quantity> {
        Some(self.0).filter(|own| other.is_none() || own.0 != "0")
    }
}

impl From<MetricSpec> for Metric {
    fn from(spec: MetricSpec) -> Self {
        let resource = |name, container, target: MetricTarget| OfResource {
            name,
            target_average_utilization: target.average_utilization,
            target_average_value: target.average_value,
            container,
        };
        Self {
            kind: spec.type_,
            object: spec.object.map(|source| OfObject {
                target: source.described_object,
                metric_name: source.metric.name,
                target_value: Number::of(source.target.value),
                selector: source.metric.selector,
                average_value: source.target.average_value,
            }),
            pods: spec.pods.map(|source| OfPods {
                metric_name: source.metric.name,
                target_average_value: Number::of(source.target.average_value),
                selector: source.metric.selector,
            }),
            resource: spec.resource.map(|source| resource(source.name, String::new(), source.target)),
            container_resource: spec
                .container_resource
                .map(|source| resource(source.name, source.container, source.target)),
            external: spec.external.map(|source| OfExternal {
                metric_name: source.metric.name,
                metric_selector: source.metric.selector,
                target_value: source.target.value,
                target_average_value: source.target.average_value,
            }),
        }
    }
}

/// The kind of a target, which v1 leaves to its values.
fn target(value: Option<Quantity>, average_value: Option<Quantity>, average_utilization: Option<i32>) -> MetricTarget {
    let type_ = match (&value, &average_value, average_utilization) {
        (_, _, Some(_)) => "Utilization",
        (Some(_), None, None) => "Value",
        _ => "AverageValue",
    };
    MetricTarget { type_: type_.to_owned(), value, average_value, average_utilization }
}

impl From<Metric> for MetricSpec {
    fn from(metric: Metric) -> Self {
        let of_resource = |source: &mut OfResource| {
            target(None, source.target_average_value.take(), source.target_average_utilization)
        };
        Self {
            type_: metric.kind,
            object: metric.object.map(|source| ObjectMetricSource {
                described_object: source.target,
                metric: MetricIdentifier { name: source.metric_name, selector: source.selector },
                target: target(source.target_value.beside(source.average_value.as_ref()), source.average_value, None),
            }),
            pods: metric.pods.map(|source| PodsMetricSource {
                metric: MetricIdentifier { name: source.metric_name, selector: source.selector },
                target: target(None, Some(source.target_average_value.0), None),
            }),
            resource: metric.resource.map(|mut source| {
                let target = of_resource(&mut source);
                ResourceMetricSource { name: source.name, target }
            }),
            container_resource: metric.container_resource.map(|mut source| {
                let target = of_resource(&mut source);
                ContainerResourceMetricSource { name: source.name, container: source.container, target }
            }),
            external: metric.external.map(|source| ExternalMetricSource {
                metric: MetricIdentifier { name: source.metric_name, selector: source.metric_selector },
                target: target(source.target_value, source.target_average_value, None),
            }),
        }
    }
}

impl From<MetricStatus> for Current {
    fn from(status: MetricStatus) -> Self {
        let resource = |name, container, current: MetricValueStatus| CurrentResource {
            name,
            current_average_utilization: current.average_utilization,
            current_average_value: Number::of(current.average_value),
            container,
        };
        Self {
            kind: status.type_,
            object: status.object.map(|source| CurrentObject {
                target: source.described_object,
                metric_name: source.metric.name,
                current_value: Number::of(source.current.value),
                selector: source.metric.selector,
                average_value: source.current.average_value,
            }),
            pods: status.pods.map(|source| CurrentPods {
                metric_name: source.metric.name,
                current_average_value: Number::of(source.current.average_value),
                selector: source.metric.selector,
            }),
            resource: status.resource.map(|source| resource(source.name, String::new(), source.current)),
            container_resource: status
                .container_resource
                .map(|source| resource(source.name, source.container, source.current)),
            external: status.external.map(|source| CurrentExternal {
                metric_name: source.metric.name,
                metric_selector: source.metric.selector,
                current_value: Number::of(source.current.value),
                current_average_value: source.current.average_value,
            }),
        }
    }
}

impl From<Current> for MetricStatus {
    fn from(current: Current) -> Self {
        let value =
            |value, average_value, average_utilization| MetricValueStatus { value, average_value, average_utilization };
        let of_resource = |source: CurrentResource| {
            let (average, percent) = (source.current_average_value.0, source.current_average_utilization);
            (source.name, source.container, value(None, Some(average), percent))
        };
        Self {
            type_: current.kind,
            object: current.object.map(|source| ObjectMetricStatus {
                described_object: source.target,
                metric: MetricIdentifier { name: source.metric_name, selector: source.selector },
                current: value(Some(source.current_value.0), source.average_value, None),
            }),
            pods: current.pods.map(|source| PodsMetricStatus {
                metric: MetricIdentifier { name: source.metric_name, selector: source.selector },
                current: value(None, Some(source.current_average_value.0), None),
            }),
            resource: current
                .resource
                .map(of_resource)
                .map(|(name, _, current)| ResourceMetricStatus { name, current }),
            container_resource: current
                .container_resource
                .map(of_resource)
                .map(|(name, container, current)| ContainerResourceMetricStatus { name, container, current }),
            external: current.external.map(|source| ExternalMetricStatus {
                metric: MetricIdentifier { name: source.metric_name, selector: source.metric_selector },
                current: value(Some(source.current_value.0), source.current_average_value, None),
            }),
        }
    }
}

impl From<HorizontalPodAutoscalerBehavior> for Behavior {
    fn from(behavior: HorizontalPodAutoscalerBehavior) -> Self {
        let policy = |policy: HPAScalingPolicy| Policy {
            kind: policy.type_,
            value: policy.value,
            period_seconds: policy.period_seconds,
        };
        let rules = |rules: HPAScalingRules| Rules {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy,
            policies: rules.policies.map(|policies| policies.into_iter().map(policy).collect()),
            tolerance: rules.tolerance,
        };
        Self { scale_up: behavior.scale_up.map(rules), scale_down: behavior.scale_down.map(rules) }
    }
}

impl From<Behavior> for HorizontalPodAutoscalerBehavior {
    fn from(behavior: Behavior) -> Self {
        let policy = |policy: Policy| HPAScalingPolicy {
            type_: policy.kind,
            value: policy.value,
            period_seconds: policy.period_seconds,
        };
        let rules = |rules: Rules| HPAScalingRules {
            stabilization_window_seconds: rules.stabilization_window_seconds,
            select_policy: rules.select_policy,
            policies: rules.policies.map(|policies| policies.into_iter().map(policy).collect()),
            tolerance: rules.tolerance,
        };
        Self { scale_up: behavior.scale_up.map(rules), scale_down: behavior.scale_down.map(rules) }
    }
}
