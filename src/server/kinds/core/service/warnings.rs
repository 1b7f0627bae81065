//! What upstream warns of in Services.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use crate::api::field::Path;
use crate::server::validation::text;
use crate::server::validation::warnings::{cidr, ip};

pub fn warnings(service: &Service) -> Vec<String> {
    const OLD: &str = "service.kubernetes.io/topology-aware-hints";
    let mut warnings = Vec::new();
    if service.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(OLD)) {
        warnings
            .push(format!("annotation {OLD} is deprecated, please use service.kubernetes.io/topology-mode instead"));
    }
    let Some(spec) = &service.spec else { return warnings };
    addresses(&mut warnings, &Path::new("spec"), spec);
    let is_name = text(&spec.type_) == "ExternalName";
    let external_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    if is_name && external_ips {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !is_name && !text(&spec.external_name).is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if text(&spec.traffic_distribution) == "PreferClose" {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    warnings
}

/// Of the addresses that a load balancer gave; the paths are upstream's.
pub fn of_status(service: &Service) -> Vec<String> {
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let mut warnings = Vec::new();
    for (at, point) in status.iter().flat_map(|balancer| balancer.ingress.iter().flatten()).enumerate() {
        ip(&mut warnings, &path.index(at), text(&point.ip));
    }
    warnings
}

fn addresses(warnings: &mut Vec<String>, path: &Path, spec: &ServiceSpec) {
    let headless = text(&spec.type_) == "ClusterIP" && text(&spec.cluster_ip) == "None";
    for (at, address) in spec.cluster_ips.iter().flatten().enumerate() {
        ip(warnings, &path.child("clusterIPs").index(at), address);
    }
    let outside = spec.external_ips.as_deref().unwrap_or_default();
    let mut say = |condition: bool, what: &str| {
        if condition {
            warnings.push(what.to_owned());
        }
    };
    if headless {
        say(!text(&spec.load_balancer_ip).is_empty(), "spec.loadBalancerIP is ignored for headless services");
        say(!outside.is_empty(), "spec.externalIPs is ignored for headless services");
        say(text(&spec.session_affinity) != "None", "spec.SessionAffinity is ignored for headless services");
    }
    for (at, address) in outside.iter().enumerate() {
        ip(warnings, &path.child("externalIPs").index(at), address);
    }
    if !outside.is_empty() && !headless && text(&spec.type_) != "ExternalName" {
        warnings.push("spec.externalIPs is deprecated".to_owned());
    }
    ip(warnings, &path.child("loadBalancerIP"), text(&spec.load_balancer_ip));
    for (at, range) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        cidr(warnings, &path.child("loadBalancerSourceRanges").index(at), range);
    }
}
