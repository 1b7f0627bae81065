//! The rules of Services: this file holds the order of the checks.

mod addresses;
mod change;
mod policies;
mod ports;

#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{labels, named, network, one_of, required_name, text};

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub fn service(new: &Service, old: Option<&Service>) -> Errors {
    let mut errors = Errors::new();
    let path = Path::new("spec");
    let empty = ServiceSpec::default();
    let spec = new.spec.as_ref().unwrap_or(&empty);
    let before = old.and_then(|old| old.spec.as_ref()).unwrap_or(&empty);
    if old.is_some() {
        change::change(&mut errors, &path, spec, before);
    }
    topology(&mut errors, new);
    kind(&mut errors, &path, spec);
    ports::each(&mut errors, &path.child("ports"), spec);
    labels::labels(&mut errors, &path.child("selector"), spec.selector.as_ref());
    policies::affinity(&mut errors, &path, spec);
    addresses::cluster(&mut errors, &path, spec, before);
    addresses::external(&mut errors, &path.child("externalIPs"), spec, before);
    one_of(&mut errors, &path.child("type"), text(&spec.type_), TYPES);
    ports::together(&mut errors, &path.child("ports"), spec);
    addresses::source_ranges(&mut errors, &path, new, old);
    policies::balancer(&mut errors, &path, spec);
    policies::traffic(&mut errors, &path, spec);
    errors
}

/// The rules of a change through `/status`: where the load balancer listens.
pub fn status(new: &Service, old: &Service) -> Errors {
    fn ingress(service: &Service) -> &[LoadBalancerIngress] {
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
    }
    let mut errors = Errors::new();
    let before: Vec<_> = ingress(old).iter().filter_map(|ingress| ingress.ip.clone()).collect();
    let ingress = ingress(new);
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let kind = new.spec.as_ref().map_or("", |spec| text(&spec.type_));
    if kind != "LoadBalancer" && !ingress.is_empty() {
        errors.push(Error::forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'"));
        return errors;
    }
    for (at, one) in ingress.iter().enumerate() {
        ingress_point(&mut errors, &path.index(at), one, &before);
    }
    errors
}

fn ingress_point(errors: &mut Errors, path: &Path, ingress: &LoadBalancerIngress, before: &[String]) {
    let (ip, mode) = (text(&ingress.ip), path.child("ipMode"));
    if !ip.is_empty() {
        network::legacy_ip(errors, &path.child("ip"), ip, before);
    }
    match ingress.ip_mode.as_deref() {
        None if !ip.is_empty() => errors.push(Error::required(&mode, "must be specified when `ip` is set")),
        None => {}
        Some(_) if ip.is_empty() => {
            errors.push(Error::forbidden(&mode, "may not be specified when `ip` is not set"));
        }
        Some("Proxy" | "VIP") => {}
        Some(other) => errors.push(Error::not_supported(&mode, other, &["Proxy", "VIP"])),
    }
    let (host, path) = (text(&ingress.hostname), path.child("hostname"));
    if !host.is_empty() {
        named(errors, &path, host, names::dns1123_subdomain(host));
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.push(Error::invalid(&path, host, "must be a DNS name, not an IP address"));
        }
    }
}

fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(spec.cluster_ips.as_deref(), Some([only]) if only == "None")
}

/// The annotation for the same thing, in its old and its new name.
fn topology(errors: &mut Errors, service: &Service) {
    const OLD: &str = "service.kubernetes.io/topology-aware-hints";
    const NEW: &str = "service.kubernetes.io/topology-mode";
    let Some(annotations) = &service.metadata.annotations else { return };
    if let (Some(old), Some(new)) = (annotations.get(OLD), annotations.get(NEW))
        && old != new
    {
        let path = Path::new("metadata").child("annotations").key(NEW);
        let detail = format!("must match annotations[{OLD}] when both are specified");
        errors.push(Error::invalid(&path, new.as_str(), detail));
    }
}

fn kind(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let no_ports = spec.ports.as_ref().is_none_or(Vec::is_empty);
    if no_ports && !is_headless(spec) && text(&spec.type_) != "ExternalName" {
        errors.push(Error::required(&path.child("ports"), ""));
    }
    match text(&spec.type_) {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(Error::invalid(&path.child("clusterIPs").index(0), "None", detail));
        }
        "ExternalName" => {
            let present = [
                ("clusterIPs", spec.cluster_ips.as_ref().is_some_and(|ips| !ips.is_empty())),
                ("ipFamilies", spec.ip_families.as_ref().is_some_and(|families| !families.is_empty())),
                ("ipFamilyPolicy", spec.ip_family_policy.is_some()),
            ];
            for (field, _) in present.iter().filter(|(_, present)| *present) {
                errors.push(Error::forbidden(&path.child(field), "may not be set for ExternalName services"));
            }
            // A trailing dot makes the name absolute.
            let name = text(&spec.external_name);
            let name = name.strip_suffix('.').unwrap_or(name);
            required_name(errors, &path.child("externalName"), name, names::dns1123_subdomain);
        }
        _ => {}
    }
}
