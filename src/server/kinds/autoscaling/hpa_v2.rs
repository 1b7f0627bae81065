//! HorizontalPodAutoscaler autoscaling/v2: the version that is stored.

use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler};
use serde_json::Value;

use crate::api::field::Errors;
use crate::server::kinds::defaults::{absent, absent_text};
use crate::server::strategy::{Column, Meta, Strategy, Subresource};

pub struct HorizontalPodAutoscalersV2;

impl Strategy for HorizontalPodAutoscalersV2 {
    type Kind = HorizontalPodAutoscaler;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["hpa"],
            categories: &["all"],
            subresources: const { &[Subresource::status("HorizontalPodAutoscaler")] },
            ..Meta::namespaced::<HorizontalPodAutoscaler>("horizontalpodautoscalers")
        }
    }

    crate::server::kinds::spec_and_status!();

    fn default(&self, object: &mut HorizontalPodAutoscaler) {
        super::hpa_v1::forget_all(object);
        let spec = &mut object.spec;
        absent(&mut spec.min_replicas, 1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            spec.metrics = Some(vec![super::hpa_v1::cpu_utilization(80)]);
        }
        let Some(behavior) = &mut spec.behavior else { return };
        let up = behavior.scale_up.get_or_insert_default();
        absent(&mut up.stabilization_window_seconds, 0);
        rules(up, &[("Pods", 4, 15), ("Percent", 100, 15)]);
        rules(behavior.scale_down.get_or_insert_default(), &[("Percent", 100, 15)]);
    }

    fn columns(&self) -> &'static [Column] {
        super::table::COLUMNS
    }

    fn cells(&self, object: &HorizontalPodAutoscaler, now: jiff::Timestamp) -> Option<Vec<Value>> {
        Some(super::table::cells(object, now))
    }

    fn validate(&self, new: &HorizontalPodAutoscaler, old: Option<&HorizontalPodAutoscaler>) -> Errors {
        super::validate::autoscaler(new, old)
    }

    fn validate_status(&self, new: &HorizontalPodAutoscaler, _old: &HorizontalPodAutoscaler) -> Errors {
        super::validate::status(new)
    }
}

/// Completes the rules of one direction; `policies` are `(type, value, period in seconds)`.
fn rules(rules: &mut HPAScalingRules, policies: &[(&str, i32, i32)]) {
    absent_text(&mut rules.select_policy, "Max");
    if rules.policies.as_ref().is_none_or(Vec::is_empty) {
        let policy = |&(kind, value, period_seconds): &(&str, i32, i32)| HPAScalingPolicy {
            type_: kind.to_owned(),
            value,
            period_seconds,
        };
        rules.policies = Some(policies.iter().map(policy).collect());
    }
}
