//! Addresses of a Service: its own in the cluster, those outside, and who may come from where.

use std::collections::HashSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::is_headless;
use crate::api::field::{Error, Errors, Path};
use crate::server::validation::{json, network, optional_one_of, text};

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// `clusterIPs`, `clusterIP`, `ipFamilies` and `ipFamilyPolicy` together. An ExternalName has none of them.
pub fn cluster(errors: &mut Errors, path: &Path, spec: &ServiceSpec, old: &ServiceSpec) {
    if text(&spec.type_) == "ExternalName" {
        return;
    }
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    let here = path.child("clusterIPs");
    match (text(&spec.cluster_ip), ips.first()) {
        ("", None) => {}
        ("", Some(_)) => {
            errors.push(Error::invalid(&here, json(&ips), "must be empty when `clusterIP` is not specified"));
        }
        (_, None) => errors.push(Error::required(&here, "")),
        (single, Some(first)) if single != first => {
            errors.push(Error::invalid(&here, json(&ips), "first value must match `clusterIP`"));
        }
        _ => {}
    }
    families(errors, path, spec);
    let mut read = Vec::new();
    let before = errors.len();
    for (at, ip) in ips.iter().enumerate() {
        if at == 0 && ip == "None" {
            if ips.len() > 1 {
                errors.push(Error::invalid(&here, json(&ips), "'None' must be the first and only value"));
            }
            continue;
        }
        read.extend(network::legacy_ip(errors, &here.index(at), ip, old.cluster_ips.as_deref().unwrap_or_default()));
    }
    let unreadable = errors.len() > before;
    if ips.len() > 2 {
        errors.push(Error::invalid(&here, json(&ips), "may only hold up to 2 values"));
    }
    // Unreadable addresses would only be told a second time.
    if unreadable {
        return;
    }
    if ips.len() > 1 && !(read.iter().any(IpAddr::is_ipv4) && read.iter().any(IpAddr::is_ipv6)) {
        errors.push(Error::invalid(&here, json(&ips), "may specify no more than one IP for each IP family"));
    }
    if !is_headless(spec) {
        for (at, (ip, family)) in read.iter().zip(spec.ip_families.iter().flatten()).enumerate() {
            let fits = if family == "IPv4" { ip.is_ipv4() } else { ip.is_ipv6() };
            if !fits {
                let detail = format!("expected an {family} value as indicated by `ipFamilies[{at}]`");
                errors.push(Error::invalid(&here.index(at), ips[at].as_str(), detail));
            }
        }
    }
}

fn families(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let mut seen = HashSet::new();
    for (at, family) in spec.ip_families.iter().flatten().enumerate() {
        let path = path.child("ipFamilies").index(at);
        if !["IPv4", "IPv6"].contains(&family.as_str()) {
            errors.push(Error::not_supported(&path, family.as_str(), &["IPv4", "IPv6"]));
        }
        if !seen.insert(family) {
            errors.push(Error::duplicate(&path, family.as_str()));
        }
    }
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    optional_one_of(errors, &path.child("ipFamilyPolicy"), &spec.ip_family_policy, &policies);
}

pub fn external(errors: &mut Errors, path: &Path, spec: &ServiceSpec, old: &ServiceSpec) {
    let before = old.external_ips.as_deref().unwrap_or_default();
    for (at, ip) in spec.external_ips.iter().flatten().enumerate() {
        let here = path.index(at);
        if network::legacy_ip(errors, &here, ip, before).is_some() {
            network::not_special(errors, &here, ip);
        }
    }
}

/// From the field, or from the annotation that came before it. They may be padded with spaces.
pub fn source_ranges(errors: &mut Errors, path: &Path, service: &Service, old: Option<&Service>) {
    fn ranges(service: &Service) -> &[String] {
        let spec = service.spec.as_ref();
        spec.and_then(|spec| spec.load_balancer_source_ranges.as_deref()).unwrap_or_default()
    }
    fn annotated(service: &Service) -> Option<&String> {
        service.metadata.annotations.as_ref().and_then(|annotations| annotations.get(SOURCE_RANGES))
    }
    let balanced = service.spec.as_ref().is_some_and(|spec| text(&spec.type_) == "LoadBalancer");
    let before = old.map(ranges).unwrap_or_default();
    let (ranges, annotation) = (ranges(service), annotated(service));
    if !ranges.is_empty() {
        let here = path.child("LoadBalancerSourceRanges");
        if !balanced {
            errors.push(Error::forbidden(&here, ONLY_BALANCED));
        }
        let before: Vec<_> = before.iter().map(|range| range.trim().to_owned()).collect();
        for (at, range) in ranges.iter().enumerate() {
            network::cidr(errors, &here.index(at), range.trim(), &before);
        }
    } else if let Some(ranges) = annotation {
        let here = Path::new("metadata").child("annotations").key(SOURCE_RANGES);
        if !balanced {
            errors.push(Error::forbidden(&here, ONLY_BALANCED));
        }
        let unread = !ranges.trim().is_empty() && old.and_then(annotated) != Some(ranges);
        for range in ranges.trim().split(',').filter(|_| unread) {
            network::cidr(errors, &here, range.trim(), &[]);
        }
    }
}
