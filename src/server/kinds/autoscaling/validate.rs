//! The rules of autoscalers, in the form that is stored.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, MetricIdentifier,
    MetricSpec, MetricTarget,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{self, named, not_negative, optional_one_of, required_name};

/// Seconds: how far back a recommendation may be looked at, and how long a policy's period may be.
const MAX_WINDOW: i32 = 3600;
const MAX_PERIOD: i32 = 1800;

/// What the apiVersion of a reference may be.
#[derive(Clone, Copy, PartialEq)]
enum Version {
    Any,
    Parses,
    NamesGroup,
}

pub fn autoscaler(object: &HorizontalPodAutoscaler, old: Option<&HorizontalPodAutoscaler>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    // `HPAScaleToZero` is closed in v1.36: only who was at zero may be.
    let lowest = i32::from(old.is_none_or(|old| old.spec.min_replicas != Some(0)));
    if let Some(low) = spec.min_replicas.filter(|low| *low < lowest) {
        let detail = format!("must be greater than or equal to {lowest}");
        errors.push(Error::invalid(&path.child("minReplicas"), low, detail));
    }
    if spec.max_replicas < 1 {
        errors.push(Error::invalid(&path.child("maxReplicas"), spec.max_replicas, "must be greater than 0"));
    }
    if spec.min_replicas.is_some_and(|low| spec.max_replicas < low) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(Error::invalid(&path.child("maxReplicas"), spec.max_replicas, detail));
    }
    let before = old.map(|old| &old.spec.scale_target_ref);
    let after = &spec.scale_target_ref;
    let version = match before {
        Some(before) if before.api_version == after.api_version && before.kind == after.kind => Version::Any,
        _ if after.kind == "ReplicationController" => Version::Parses,
        _ => Version::NamesGroup,
    };
    reference(&mut errors, &path.child("scaleTargetRef"), after, version);
    let old_objects =
        old.iter().flat_map(|old| old.spec.metrics.iter().flatten()).filter_map(|old| old.object.as_ref());
    let mut old_objects = old_objects.map(|object| &object.described_object);
    let unparsed = old_objects.any(|object| version_fault(object, Version::Parses).is_some());
    let version = if unparsed { Version::Any } else { Version::Parses };
    for (at, spec) in spec.metrics.iter().flatten().enumerate() {
        metric(&mut errors, &path.child("metrics").index(at), spec, version);
    }
    // Without pods none of them tells anything.
    let mut outside = spec.metrics.iter().flatten().map(|spec| spec.type_.as_str());
    if spec.min_replicas == Some(0) && !outside.any(|kind| matches!(kind, "Object" | "External")) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(Error::forbidden(&path.child("metrics"), detail));
    }
    let path = path.child("behavior");
    let behavior = spec.behavior.clone().unwrap_or_default();
    for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        if let Some(rules) = rules {
            scaling_rules(&mut errors, &path.child(field), rules);
        }
    }
    errors
}

pub fn status(object: &HorizontalPodAutoscaler) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("status");
    if let Some(status) = &object.status {
        not_negative(&mut errors, &path.child("currentReplicas"), status.current_replicas.unwrap_or(0));
        not_negative(&mut errors, &path.child("desiredReplicas"), status.desired_replicas);
    }
    errors
}

fn reference(errors: &mut Errors, path: &Path, reference: &CrossVersionObjectReference, version: Version) {
    required_name(errors, &path.child("kind"), &reference.kind, names::path_segment_name);
    required_name(errors, &path.child("name"), &reference.name, names::path_segment_name);
    if let Some(fault) = version_fault(reference, version) {
        let given = reference.api_version.as_deref().unwrap_or_default();
        errors.push(Error::invalid(&path.child("apiVersion"), given, fault));
    }
}

fn version_fault(reference: &CrossVersionObjectReference, version: Version) -> Option<String> {
    let given = reference.api_version.as_deref().unwrap_or_default();
    let group = given.split_once('/').map_or("", |(group, _)| group);
    if version == Version::Any {
        None
    } else if given.matches('/').count() > 1 {
        Some(format!("unexpected GroupVersion string: {given}"))
    } else {
        (version == Version::NamesGroup && group.is_empty()).then(|| "apiVersion must specify API group".to_owned())
    }
}

fn scaling_rules(errors: &mut Errors, path: &Path, rules: &HPAScalingRules) {
    if let Some(window) = rules.stabilization_window_seconds {
        let path = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(Error::invalid(&path, window, "must be greater than or equal to zero"));
        }
        if window > MAX_WINDOW {
            errors.push(Error::invalid(&path, window, format!("must be less than or equal to {MAX_WINDOW}")));
        }
    }
    optional_one_of(errors, &path.child("selectPolicy"), &rules.select_policy, &["Disabled", "Max", "Min"]);
    let here = path.child("policies");
    let policies = rules.policies.as_deref().unwrap_or_default();
    if policies.is_empty() {
        errors.push(Error::required(&here, "must specify at least one Policy"));
    }
    for (at, one) in policies.iter().enumerate() {
        policy(errors, &here.index(at), one);
    }
    let here = path.child("tolerance");
    let tolerance = rules.tolerance.as_ref().and_then(|wire| validation::quantity(errors, &here, wire));
    if let Some(tolerance) = tolerance.filter(|amount| amount.is_negative()) {
        errors.push(Error::invalid(&here, tolerance.to_string(), validation::NOT_NEGATIVE));
    }
}

fn policy(errors: &mut Errors, path: &Path, policy: &HPAScalingPolicy) {
    let kinds = ["Percent", "Pods"];
    if !kinds.contains(&policy.type_.as_str()) {
        errors.push(Error::not_supported(&path.child("type"), policy.type_.as_str(), &kinds));
    }
    for (field, value) in [("value", policy.value), ("periodSeconds", policy.period_seconds)] {
        if value <= 0 {
            errors.push(Error::invalid(&path.child(field), value, validation::POSITIVE));
        }
    }
    if policy.period_seconds > MAX_PERIOD {
        let detail = format!("must be less than or equal to {MAX_PERIOD}");
        errors.push(Error::invalid(&path.child("periodSeconds"), policy.period_seconds, detail));
    }
}

fn metric(errors: &mut Errors, path: &Path, spec: &MetricSpec, version: Version) {
    const KINDS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];
    let here = path.child("type");
    if spec.type_.is_empty() {
        errors.push(Error::required(&here, "must specify a metric source type"));
    }
    if !KINDS.contains(&spec.type_.as_str()) {
        errors.push(Error::not_supported(&here, spec.type_.as_str(), &KINDS));
    }
    let present = [
        ("Object", "object", spec.object.is_some()),
        ("External", "external", spec.external.is_some()),
        ("Pods", "pods", spec.pods.is_some()),
        ("Resource", "resource", spec.resource.is_some()),
        ("ContainerResource", "containerResource", spec.container_resource.is_some()),
    ];
    // Only the first one found is looked into.
    if let Some((_, field, _)) = present.iter().find(|(_, _, present)| *present) {
        source(errors, &path.child(field), spec, field, version);
    }
    match present.iter().find(|(kind, ..)| *kind == spec.type_) {
        Some((_, field, false)) => {
            let detail = "must populate information for the given metric source";
            errors.push(Error::required(&path.child(field), detail));
        }
        Some(_) => {}
        None => errors.push(Error::not_supported(&here, spec.type_.as_str(), &KINDS)),
    }
    // A single source of another type than the one named is only missed, not refused.
    if present.iter().filter(|(_, _, present)| *present).count() > 1 {
        for (_, field, _) in present.iter().filter(|(kind, _, present)| *present && *kind != spec.type_) {
            errors.push(Error::forbidden(&path.child(field), "must populate the given metric source only"));
        }
    }
}

fn source(errors: &mut Errors, path: &Path, spec: &MetricSpec, field: &str, version: Version) {
    let here = path.child("target");
    match (field, &spec.object, &spec.external, &spec.pods, &spec.resource, &spec.container_resource) {
        ("object", Some(source), ..) => {
            reference(errors, &path.child("describedObject"), &source.described_object, version);
            identifier(errors, &path.child("metric"), &source.metric);
            target(errors, &here, &source.target);
            one_of_values(errors, &here, &source.target, "must set either a target value or averageValue");
        }
        ("external", _, Some(source), ..) => {
            identifier(errors, &path.child("metric"), &source.metric);
            target(errors, &here, &source.target);
            let detail = "must set either a target value for metric or a per-pod target";
            one_of_values(errors, &here, &source.target, detail);
            if source.target.value.is_some() && source.target.average_value.is_some() {
                let detail = "may not set both a target value for metric and a per-pod target";
                errors.push(Error::forbidden(&here.child("value"), detail));
            }
        }
        ("pods", _, _, Some(source), ..) => {
            identifier(errors, &path.child("metric"), &source.metric);
            target(errors, &here, &source.target);
            if source.target.average_value.is_none() {
                let detail = "must specify a positive target averageValue";
                errors.push(Error::required(&here.child("averageValue"), detail));
            }
        }
        ("resource", _, _, _, Some(source), _) => resource(errors, path, &source.name, None, &source.target),
        ("containerResource", _, _, _, _, Some(source)) => {
            resource(errors, path, &source.name, Some(&source.container), &source.target);
        }
        _ => {}
    }
}

fn resource(errors: &mut Errors, path: &Path, name: &str, container: Option<&String>, wanted: &MetricTarget) {
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), "must specify a resource name"));
    } else if container.is_some() {
        validation::resources::container_name(errors, &path.child("name"), name);
    }
    match container.map(String::as_str) {
        None => {}
        Some("") => errors.push(Error::required(&path.child("container"), "must specify a container")),
        Some(container) => named(errors, &path.child("container"), container, names::dns1123_label(container)),
    }
    let path = path.child("target");
    target(errors, &path, wanted);
    match (wanted.average_utilization, &wanted.average_value) {
        (None, None) => {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(Error::required(&path.child("averageUtilization"), detail));
        }
        (Some(_), Some(_)) => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(Error::forbidden(&path.child("averageValue"), detail));
        }
        _ => {}
    }
}

fn one_of_values(errors: &mut Errors, path: &Path, target: &MetricTarget, detail: &str) {
    if target.value.is_none() && target.average_value.is_none() {
        errors.push(Error::required(&path.child("averageValue"), detail));
    }
}

fn identifier(errors: &mut Errors, path: &Path, metric: &MetricIdentifier) {
    let path = path.child("name");
    if metric.name.is_empty() {
        errors.push(Error::required(&path, "must specify a metric name"));
    } else {
        named(errors, &path, &metric.name, names::path_segment_name(&metric.name));
    }
}

fn target(errors: &mut Errors, path: &Path, target: &MetricTarget) {
    let here = path.child("type");
    if target.type_.is_empty() {
        errors.push(Error::required(&here, "must specify a metric target type"));
    }
    if !matches!(target.type_.as_str(), "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(Error::invalid(&here, target.type_.as_str(), detail));
    }
    let mut positive = |field: &str, value: &Option<Quantity>| {
        let Some(wire) = value else { return };
        let path = path.child(field);
        if validation::quantity(errors, &path, wire).is_some_and(|amount| amount.is_zero() || amount.is_negative()) {
            errors.push(Error::invalid(&path, wire.0.as_str(), "must be positive"));
        }
    };
    positive("value", &target.value);
    positive("averageValue", &target.average_value);
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        errors.push(Error::invalid(&path.child("averageUtilization"), percent, "must be greater than 0"));
    }
}
