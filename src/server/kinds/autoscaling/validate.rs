//! The rules of autoscalers, in the form that is stored.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{one_of, required_name};

pub fn autoscaler(object: &HorizontalPodAutoscaler) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let spec = &object.spec;
    if let Some(low) = spec.min_replicas.filter(|low| *low < 1) {
        errors.push(Error::invalid(&path.child("minReplicas"), low, "must be greater than or equal to 1"));
    }
    if spec.max_replicas < 1 {
        errors.push(Error::invalid(&path.child("maxReplicas"), spec.max_replicas, "must be greater than 0"));
    }
    if spec.min_replicas.is_some_and(|low| spec.max_replicas < low) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(Error::invalid(&path.child("maxReplicas"), spec.max_replicas, detail));
    }
    let target = path.child("scaleTargetRef");
    required_name(&mut errors, &target.child("kind"), &spec.scale_target_ref.kind, names::path_segment_name);
    required_name(&mut errors, &target.child("name"), &spec.scale_target_ref.name, names::path_segment_name);
    for (at, metric) in spec.metrics.iter().flatten().enumerate() {
        let path = path.child("metrics").index(at);
        let kinds = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        one_of(&mut errors, &path.child("type"), &metric.type_, &kinds);
        let source = match metric.type_.as_str() {
            "ContainerResource" => ("containerResource", metric.container_resource.is_some()),
            "External" => ("external", metric.external.is_some()),
            "Object" => ("object", metric.object.is_some()),
            "Pods" => ("pods", metric.pods.is_some()),
            "Resource" => ("resource", metric.resource.is_some()),
            _ => continue,
        };
        if !source.1 {
            let detail = "must populate information for the given metric source";
            errors.push(Error::required(&path.child(source.0), detail));
        }
    }
    errors
}
