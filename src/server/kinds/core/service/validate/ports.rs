//! Ports of a Service: each alone, and no two the same.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use crate::api::field::{Error, Errors, Path};
use crate::api::names;
use crate::server::validation::{internal, named, one_of, port as target_port, port_number, text};

pub fn each(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut names = HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        one(errors, &path.index(at), port, ports.len() > 1, &mut names);
    }
}

fn one<'a>(errors: &mut Errors, path: &Path, port: &'a ServicePort, needs_name: bool, seen: &mut HashSet<&'a str>) {
    let name = text(&port.name);
    if needs_name && name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    } else if !name.is_empty() {
        named(errors, &path.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name) {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
    }
    port_number(errors, &path.child("port"), port.port);
    one_of(errors, &path.child("protocol"), text(&port.protocol), &["SCTP", "TCP", "UDP"]);
    if let Some(target) = &port.target_port {
        target_port(errors, &path.child("targetPort"), target);
    }
    if let Some(protocol) = &port.app_protocol {
        named(errors, &path.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
}

pub fn together(errors: &mut Errors, path: &Path, spec: &ServiceSpec) {
    let ports = || spec.ports.iter().flatten().enumerate();
    let node_ports =
        || ports().filter_map(|(at, port)| Some((at, port, port.node_port.filter(|number| *number != 0)?)));
    if text(&spec.type_) == "ClusterIP" {
        for (at, ..) in node_ports() {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.push(Error::forbidden(&path.index(at).child("nodePort"), detail));
        }
    }
    let mut seen = HashSet::new();
    for (at, port, number) in node_ports() {
        if !seen.insert((text(&port.protocol), number)) {
            errors.push(Error::duplicate(&path.index(at).child("nodePort"), number));
        }
    }
    let mut seen = HashSet::new();
    for (at, port) in ports() {
        if !seen.insert((text(&port.protocol), port.port)) {
            let shown = internal::service_port(text(&port.protocol), port.port);
            errors.push(Error::duplicate_shown(&path.index(at), &shown));
        }
    }
}
