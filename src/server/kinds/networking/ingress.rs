//! Ingress: HTTP routes to Services.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressLoadBalancerIngress, IngressRule, IngressServiceBackend,
    IngressSpec, IngressStatus,
};
use serde_json::Value;

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::kinds::cell;
use crate::server::strategy::{Column, Meta, Strategy, Subresource};
use crate::server::validation;

pub struct Ingresses;

impl Strategy for Ingresses {
    type Kind = Ingress;

    fn meta(&self) -> Meta {
        Meta {
            short_names: &["ing"],
            subresources: const { &[Subresource::status("Ingress")] },
            generation: true,
            ..Meta::namespaced::<Ingress>("ingresses")
        }
    }

    crate::server::kinds::spec_and_status!(IngressStatus { load_balancer: Some(Default::default()) });

    fn columns(&self) -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::NAME,
            Column::string(
                "Class",
                "The name of the IngressClass resource that should be used for additional configuration",
            ),
            Column::string("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
            Column::string("Address", "Address is a list containing ingress points for the load-balancer"),
            Column::string("Ports", "Ports of TLS configurations that open"),
            Column::AGE,
        ];
        COLUMNS
    }

    fn cells(&self, object: &Ingress, now: jiff::Timestamp) -> Option<Vec<Value>> {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let ingress = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
        let address = cell::balancer(ingress.iter().map(|point| (point.ip.as_deref(), point.hostname.as_deref())));
        let hosts = spec.rules.iter().flatten().filter_map(|rule| rule.host.clone().filter(|host| !host.is_empty()));
        let secure = spec.tls.as_ref().is_some_and(|tls| !tls.is_empty());
        Some(vec![
            cell::name(&object.metadata),
            cell::or(spec.ingress_class_name.as_deref(), cell::NONE).into(),
            cell::three(hosts).as_deref().unwrap_or("*").into(),
            address.into(),
            if secure { "80, 443" } else { "80" }.into(),
            cell::age(&object.metadata, now),
        ])
    }

    fn validate(&self, new: &Ingress, old: Option<&Ingress>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        spec_rules(&mut errors, &path, &spec, &Tolerated::by(old.and_then(|old| old.spec.as_ref())));
        if let (None, Some(class), Some(annotation)) = (old, &spec.ingress_class_name, class_annotation(new))
            && class != annotation
        {
            let detail = "must match `ingressClassName` when both are specified";
            let path = Path::new("annotations").child(CLASS_ANNOTATION);
            errors.push(Error::invalid(&path, annotation, detail));
        }
        errors
    }

    fn validate_status(&self, new: &Ingress, old: &Ingress) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("status").child("loadBalancer").child("ingress");
        let points = load_balancer(new);
        let before: Vec<_> = load_balancer(old).into_iter().flatten().filter_map(|point| point.ip.clone()).collect();
        for (at, point) in points.into_iter().flatten().enumerate() {
            let path = path.index(at);
            if let Some(ip) = point.ip.as_deref().filter(|ip| !ip.is_empty()) {
                validation::network::legacy_ip(&mut errors, &path.child("ip"), ip, &before);
            }
            if let Some(name) = point.hostname.as_deref().filter(|name| !name.is_empty()) {
                let path = path.child("hostname");
                validation::named(&mut errors, &path, name, names::dns1123_subdomain(name));
                not_an_ip(&mut errors, &path, name);
            }
        }
        errors
    }

    fn warnings(&self, new: &Ingress, old: Option<&Ingress>) -> Vec<String> {
        let class = new.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        if old.is_some() || class.is_some() || class_annotation(new).is_none() {
            return Vec::new();
        }
        vec![format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead")]
    }

    fn status_warnings(&self, new: &Ingress) -> Vec<String> {
        let path = Path::new("status").child("loadBalancer").child("ingress");
        let mut warnings = Vec::new();
        for (at, point) in load_balancer(new).into_iter().flatten().enumerate() {
            validation::warnings::ip(&mut warnings, &path.index(at).child("ip"), validation::text(&point.ip));
        }
        warnings
    }
}

fn load_balancer(ingress: &Ingress) -> Option<&Vec<IngressLoadBalancerIngress>> {
    ingress.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()
}

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn class_annotation(ingress: &Ingress) -> Option<&str> {
    ingress.metadata.annotations.as_ref()?.get(CLASS_ANNOTATION).map(String::as_str)
}

/// What the object had before there were rules for it, and so may keep.
#[derive(Default)]
struct Tolerated {
    secret_names: bool,
    wildcard_rules: bool,
}

impl Tolerated {
    fn by(old: Option<&IngressSpec>) -> Self {
        let Some(old) = old else { return Self::default() };
        let bad_secret = |name: &str| !name.is_empty() && !names::dns1123_subdomain(name).is_empty();
        let bad_rule = |rule: &IngressRule| {
            let mut errors = Errors::new();
            routes(&mut errors, &Path::root(), rule);
            !errors.is_empty()
        };
        let mut wildcards = old.rules.iter().flatten().filter(|rule| validation::text(&rule.host).contains('*'));
        Self {
            secret_names: old.tls.iter().flatten().any(|tls| bad_secret(validation::text(&tls.secret_name))),
            wildcard_rules: wildcards.any(bad_rule),
        }
    }
}

fn spec_rules(errors: &mut Errors, path: &Path, spec: &IngressSpec, tolerated: &Tolerated) {
    let rules = spec.rules.as_deref().unwrap_or_default();
    match &spec.default_backend {
        None if rules.is_empty() => {
            let detail = "either `defaultBackend` or `rules` must be specified";
            errors.push(Error::invalid(path, Value::Null, detail));
        }
        None => {}
        Some(backend) => backend_rules(errors, &path.child("defaultBackend"), backend),
    }
    for (at, rule) in rules.iter().enumerate() {
        let path = path.child("rules").index(at);
        let host = validation::text(&rule.host);
        if !host.is_empty() {
            not_an_ip(errors, &path.child("host"), host);
            host_name(errors, &path.child("host"), host);
        }
        if !(host.contains('*') && tolerated.wildcard_rules) {
            routes(errors, &path, rule);
        }
    }
    for (at, tls) in spec.tls.iter().flatten().enumerate() {
        let path = path.child("tls").index(at);
        for (at, name) in tls.hosts.iter().flatten().enumerate() {
            host_name(errors, &path.child("hosts").index(at), name);
        }
        let secret = validation::text(&tls.secret_name);
        if !secret.is_empty() && !tolerated.secret_names {
            validation::named(errors, &path.child("secretName"), secret, names::dns1123_subdomain(secret));
        }
    }
    if let Some(class) = &spec.ingress_class_name {
        validation::named(errors, &path.child("ingressClassName"), class, names::dns1123_subdomain(class));
    }
}

fn not_an_ip(errors: &mut Errors, path: &Path, host: &str) {
    if validation::network::sloppy_ip(host).is_some() {
        errors.push(Error::invalid(path, host, "must be a DNS name, not an IP address"));
    }
}

fn host_name(errors: &mut Errors, path: &Path, host: &str) {
    let check = if host.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    validation::named(errors, path, host, check(host));
}

fn routes(errors: &mut Errors, path: &Path, rule: &IngressRule) {
    let Some(http) = &rule.http else { return };
    let path = path.child("http").child("paths");
    if http.paths.is_empty() {
        errors.push(Error::required(&path, ""));
    }
    for (at, route) in http.paths.iter().enumerate() {
        route_rules(errors, &path.index(at), route);
    }
}

fn route_rules(errors: &mut Errors, path: &Path, route: &HTTPIngressPath) {
    let wanted = validation::text(&route.path);
    let here = path.child("path");
    match route.path_type.as_str() {
        "" => {
            errors.push(Error::required(&path.child("pathType"), "pathType must be specified"));
            return;
        }
        "Exact" | "Prefix" => {
            if !wanted.starts_with('/') {
                errors.push(Error::invalid(&here, wanted, "must be an absolute path"));
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| wanted.contains(**part)) {
                errors.push(Error::invalid(&here, wanted, format!("must not contain '{sequence}'")));
            }
            for end in ["/..", "/."].iter().filter(|end| wanted.ends_with(**end)) {
                errors.push(Error::invalid(&here, wanted, format!("cannot end with '{end}'")));
            }
        }
        "ImplementationSpecific" => {
            if !wanted.is_empty() && !wanted.starts_with('/') {
                errors.push(Error::invalid(&here, wanted, "must be an absolute path"));
            }
        }
        other => {
            let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.push(Error::not_supported(&path.child("pathType"), other, &kinds));
        }
    }
    backend_rules(errors, &path.child("backend"), &route.backend);
}

fn backend_rules(errors: &mut Errors, path: &Path, backend: &IngressBackend) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => {
            errors.push(Error::invalid(path, "", "cannot set both resource and service backends"));
        }
        (None, None) => errors.push(Error::invalid(path, "", "resource or service backend is required")),
        (None, Some(resource)) => {
            let path = path.child("resource");
            super::reference(errors, &path, resource.api_group.as_deref(), &resource.kind, &resource.name);
        }
        (Some(service), None) => service_backend(errors, path, service),
    }
}

fn service_backend(errors: &mut Errors, path: &Path, service: &IngressServiceBackend) {
    let here = path.child("service");
    validation::required_name(errors, &here.child("name"), &service.name, names::dns1123_label);
    let port = service.port.clone().unwrap_or_default();
    let here = here.child("port");
    match (validation::text(&port.name), port.number.unwrap_or(0)) {
        ("", 0) => errors.push(Error::required(path, "port name or number is required")),
        ("", number) => validation::port_number(errors, &here.child("number"), number),
        (name, 0) => validation::named(errors, &here.child("name"), name, names::port_name(name)),
        _ => errors.push(Error::invalid(path, "", "cannot set both port name & port number")),
    }
}
