//! Probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, SleepAction, TCPSocketAction,
};

use super::super::{named, not_negative, one_of, port, port_number, required, text};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// Everything a container may be asked, at its start, while it runs and at its end.
pub fn of_container(errors: &mut Errors, path: &Path, container: &Container, grace_period: Option<i64>) {
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        for (field, hook) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
            let Some(hook) = hook else { continue };
            handler(errors, &path.child(field), Handler::of_hook(hook), grace_period);
        }
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (field, asked) in probes {
        let Some(asked) = asked else { continue };
        let path = path.child(field);
        probe(errors, &path, asked);
        let ready = field == "readinessProbe";
        if !ready && asked.success_threshold.is_some_and(|threshold| threshold != 1) {
            let threshold = asked.success_threshold.unwrap_or(1);
            errors.push(Error::invalid(&path.child("successThreshold"), threshold, "must be 1"));
        }
        if let Some(seconds) = asked.termination_grace_period_seconds.filter(|_| ready) {
            let detail = "must not be set for readinessProbes";
            errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), seconds, detail));
        }
    }
}

fn probe(errors: &mut Errors, path: &Path, probe: &Probe) {
    handler(errors, path, Handler::of_probe(probe), None);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        not_negative(errors, &path.child(field), number.unwrap_or(0));
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        let detail = "must be greater than 0";
        errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), seconds, detail));
    }
}

/// What is done: exactly one of these.
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl<'a> Handler<'a> {
    fn of_probe(probe: &'a Probe) -> Self {
        Self {
            exec: probe.exec.as_ref(),
            http_get: probe.http_get.as_ref(),
            tcp_socket: probe.tcp_socket.as_ref(),
            grpc: probe.grpc.as_ref(),
            sleep: None,
        }
    }
    fn of_hook(hook: &'a LifecycleHandler) -> Self {
        Self {
            exec: hook.exec.as_ref(),
            http_get: hook.http_get.as_ref(),
            tcp_socket: hook.tcp_socket.as_ref(),
            grpc: None,
            sleep: hook.sleep.as_ref(),
        }
    }
}

fn handler(errors: &mut Errors, path: &Path, handler: Handler, grace_period: Option<i64>) {
    let present = [
        ("exec", handler.exec.is_some()),
        ("httpGet", handler.http_get.is_some()),
        ("tcpSocket", handler.tcp_socket.is_some()),
        ("grpc", handler.grpc.is_some()),
        ("sleep", handler.sleep.is_some()),
    ];
    let mut first = None;
    for (name, _) in present.iter().filter(|(_, present)| *present) {
        if first.is_some() {
            errors.push(Error::forbidden(&path.child(name), "may not specify more than 1 handler type"));
            continue;
        }
        first = Some(*name);
        action(errors, &path.child(name), name, &handler, grace_period);
    }
    if first.is_none() {
        errors.push(Error::required(path, "must specify a handler type"));
    }
}

fn action(errors: &mut Errors, path: &Path, name: &str, handler: &Handler, grace_period: Option<i64>) {
    match name {
        "exec" => {
            if handler.exec.is_some_and(|exec| exec.command.as_ref().is_none_or(Vec::is_empty)) {
                errors.push(Error::required(&path.child("command"), ""));
            }
        }
        "httpGet" => handler.http_get.into_iter().for_each(|action| http_get(errors, path, action)),
        "tcpSocket" => {
            handler.tcp_socket.into_iter().for_each(|action| port(errors, &path.child("port"), &action.port))
        }
        "grpc" => handler.grpc.into_iter().for_each(|action| port_number(errors, &path.child("port"), action.port)),
        _ => {
            let (Some(sleep), Some(grace)) = (handler.sleep, grace_period) else { return };
            if !(0..=grace).contains(&sleep.seconds) {
                let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                errors.push(Error::invalid(path, sleep.seconds, detail));
            }
        }
    }
}

fn http_get(errors: &mut Errors, path: &Path, action: &HTTPGetAction) {
    required(errors, &path.child("path"), text(&action.path));
    port(errors, &path.child("port"), &action.port);
    one_of(errors, &path.child("scheme"), text(&action.scheme), &["HTTP", "HTTPS"]);
    for header in action.http_headers.iter().flatten() {
        named(errors, &path.child("httpHeaders"), &header.name, names::http_header_name(&header.name));
    }
}
