//! How traffic to a Service is spread, kept together and let in from outside.

use k8s_openapi::api::core::v1::ServiceSpec;

use super::super::allocated::{has_health_check_port, is_external};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{named, one_of, optional_in_order, optional_one_of, port_number, text};

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
/// A day.
const MAX_AFFINITY: i32 = 86400;

pub fn affinity(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    const NEEDED: &str = "when session affinity type is ClientIP";
    let kind = text(&spec.session_affinity);
    one_of(errors, &path.child("sessionAffinity"), kind, &["ClientIP", "None"]);
    let here = path.child("sessionAffinityConfig");
    match (kind, &spec.session_affinity_config) {
        ("ClientIP", None) => errors.push(Error::required(&here, NEEDED)),
        ("ClientIP", Some(config)) => {
            let here = here.child("clientIP");
            let Some(client) = &config.client_ip else { return errors.push(Error::required(&here, NEEDED)) };
            let here = here.child("timeoutSeconds");
            match client.timeout_seconds {
                None => errors.push(Error::required(&here, NEEDED)),
                Some(seconds) if !(1..=MAX_AFFINITY).contains(&seconds) => {
                    let detail = format!("must be greater than 0 and less than {MAX_AFFINITY}");
                    errors.push(Error::invalid(&here, seconds, detail));
                }
                Some(_) => {}
            }
        }
        ("None", Some(_)) => {
            errors.push(Error::forbidden(&here, "must not be set when session affinity is None"));
        }
        _ => {}
    }
}

pub fn balancer(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let balanced = text(&spec.type_) == "LoadBalancer";
    match (balanced, spec.allocate_load_balancer_node_ports) {
        (false, Some(_)) => {
            errors.push(Error::forbidden(&path.child("allocateLoadBalancerNodePorts"), ONLY_BALANCED));
        }
        // Upstream's path lacks the spec.
        (true, None) => errors.push(Error::required(&Path::new("allocateLoadBalancerNodePorts"), "")),
        _ => {}
    }
    balancer_class(errors, &path.child("loadBalancerClass"), spec);
}

pub fn balancer_class(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let Some(class) = &spec.load_balancer_class else { return };
    if text(&spec.type_) == "LoadBalancer" {
        named(errors, path, class, names::qualified_name(class));
    } else {
        errors.push(Error::forbidden(path, ONLY_BALANCED));
    }
}

pub fn traffic(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let here = path.child("externalTrafficPolicy");
    match (is_external(spec), text(&spec.external_traffic_policy)) {
        (true, policy) => one_of(errors, &here, policy, &["Cluster", "Local"]),
        (false, "") => {}
        (false, policy) => {
            errors.push(Error::invalid(&here, policy, "may only be set for externally-accessible services"));
        }
    }
    // A port that is needed and missing is allocated after validation.
    let health = path.child("healthCheckNodePort");
    match spec.health_check_node_port.unwrap_or(0) {
        0 => {}
        number if has_health_check_port(spec) => port_number(errors, &health, number),
        number => {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            errors.push(Error::invalid(&health, number, detail));
        }
    }
    let internal = path.child("internalTrafficPolicy");
    match (text(&spec.type_), &spec.internal_traffic_policy) {
        ("NodePort" | "LoadBalancer" | "ClusterIP", None) => errors.push(Error::required(&internal, "")),
        (_, policy) => optional_one_of(errors, &internal, policy, &["Cluster", "Local"]),
    }
    let distributions = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    optional_in_order(errors, &path.child("trafficDistribution"), &spec.traffic_distribution, &distributions);
}
