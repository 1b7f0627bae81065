//! Ingress: HTTP routes to Services.

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};
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

    crate::server::kinds::spec_and_status!();

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

    fn validate(&self, new: &Ingress, _old: Option<&Ingress>) -> Errors {
        let mut errors = Errors::new();
        let path = Path::new("spec");
        let spec = new.spec.clone().unwrap_or_default();
        if spec.rules.as_ref().is_none_or(Vec::is_empty) && spec.default_backend.is_none() {
            let detail = "either `defaultBackend` or `rules` must be specified";
            errors.push(Error::invalid(&path, validation::json(&spec), detail));
        }
        if let Some(backend) = &spec.default_backend {
            backend_rules(&mut errors, &path.child("defaultBackend"), backend);
        }
        for (at, rule) in spec.rules.iter().flatten().enumerate() {
            let path = path.child("rules").index(at);
            host(&mut errors, &path.child("host"), validation::text(&rule.host));
            let paths = rule.http.as_ref().map(|http| http.paths.as_slice());
            if paths.is_some_and(<[_]>::is_empty) {
                errors.push(Error::required(&path.child("http").child("paths"), ""));
            }
            for (at, route) in paths.unwrap_or_default().iter().enumerate() {
                route_rules(&mut errors, &path.child("http").child("paths").index(at), route);
            }
        }
        for (at, tls) in spec.tls.iter().flatten().enumerate() {
            for (host_at, name) in tls.hosts.iter().flatten().enumerate() {
                host(&mut errors, &path.child("tls").index(at).child("hosts").index(host_at), name);
            }
        }
        if let Some(class) = &spec.ingress_class_name {
            let path = path.child("ingressClassName");
            validation::named(&mut errors, &path, class, names::dns1123_subdomain(class));
        }
        errors
    }
}

fn host(errors: &mut Errors, path: &Path, host: &str) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.push(Error::invalid(path, host, "must be a DNS name, not an IP address"));
        return;
    }
    let check = if host.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    validation::named(errors, path, host, check(host));
}

fn route_rules(errors: &mut Errors, path: &Path, route: &HTTPIngressPath) {
    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
    if route.path_type.is_empty() {
        errors.push(Error::required(&path.child("pathType"), "pathType must be specified"));
    } else if !kinds.contains(&route.path_type.as_str()) {
        errors.push(Error::not_supported(&path.child("pathType"), route.path_type.as_str(), &kinds));
    }
    let wanted = validation::text(&route.path);
    let exact = matches!(route.path_type.as_str(), "Exact" | "Prefix");
    if (exact || !wanted.is_empty()) && !wanted.starts_with('/') {
        errors.push(Error::invalid(&path.child("path"), wanted, "must be an absolute path"));
    }
    if exact {
        for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
            if wanted.contains(sequence) {
                let detail = format!("must not contain '{sequence}'");
                errors.push(Error::invalid(&path.child("path"), wanted, detail));
            }
        }
    }
    backend_rules(errors, &path.child("backend"), &route.backend);
}

fn backend_rules(errors: &mut Errors, path: &Path, backend: &IngressBackend) {
    let Some(service) = &backend.service else {
        if backend.resource.is_none() {
            errors.push(Error::required(path, "resource or service backend is required"));
        }
        return;
    };
    if backend.resource.is_some() {
        errors.push(Error::invalid(path, "", "cannot set both resource and service backends"));
        return;
    }
    let path = path.child("service");
    validation::required_name(errors, &path.child("name"), &service.name, names::dns1035_label);
    let port = service.port.clone().unwrap_or_default();
    let path = path.child("port");
    match (validation::text(&port.name), port.number.unwrap_or(0)) {
        ("", 0) => errors.push(Error::required(&path, "port name or number is required")),
        ("", number) => validation::port_number(errors, &path.child("number"), number),
        (name, 0) => validation::named(errors, &path.child("name"), name, names::port_name(name)),
        _ => errors.push(Error::invalid(&path, "", "cannot set both port name & port number")),
    }
}
