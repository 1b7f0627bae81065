//! Ports of containers.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort};

use super::super::{named, one_of, port_number, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

pub fn container(errors: &mut Errors, path: &Path, ports: &[ContainerPort]) {
    let mut seen = HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = path.index(at);
        let name = text(&port.name);
        if !name.is_empty() {
            let problems = names::port_name(name);
            if problems.is_empty() && !seen.insert(name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            }
            named(errors, &path.child("name"), name, problems);
        }
        match port.container_port {
            0 => errors.push(Error::required(&path.child("containerPort"), "")),
            number => port_number(errors, &path.child("containerPort"), number),
        }
        if let Some(number) = port.host_port.filter(|number| *number != 0) {
            port_number(errors, &path.child("hostPort"), number);
        }
        one_of(errors, &path.child("protocol"), text(&port.protocol), PROTOCOLS);
    }
}

/// Two containers of a pod cannot have the same port of the host.
pub fn host_conflicts(errors: &mut Errors, path: &Path, containers: &[Container]) {
    let mut seen = HashSet::new();
    for (at, container) in containers.iter().enumerate() {
        for (port_at, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
            let path = path.index(at).child("ports").index(port_at).child("hostPort");
            if seen.contains(&key) {
                errors.push(Error::duplicate(&path, key));
            } else {
                seen.insert(key);
            }
        }
    }
}

/// On the host's network a port of the pod is one of the host. A template may leave that open, since the pods made
/// from it get it by default.
pub fn match_host(errors: &mut Errors, path: &Path, containers: &[Container], is_pod: bool) {
    for (at, container) in containers.iter().enumerate() {
        for (port_at, port) in container.ports.iter().flatten().enumerate() {
            let host = port.host_port.unwrap_or(0);
            if (is_pod || host != 0) && host != port.container_port {
                let path = path.index(at).child("ports").index(port_at).child("hostPort");
                errors.push(Error::invalid(&path, host, "must match `containerPort` when `hostNetwork` is true"));
            }
        }
    }
}
