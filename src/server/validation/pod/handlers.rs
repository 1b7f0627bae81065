//! Probes and lifecycle hooks.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe, SleepAction,
};

use super::super::union::Union;
use super::super::{named, not_negative, port, port_number, required, text};
use super::Scope;
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

const EXTRA: &str = "may not specify more than 1 handler type";
const MISSING: &str = "must specify a handler type";

/// Everything a container may be asked, at its start, while it runs and at its end.
pub fn of_container(errors: &mut Errors, path: &Path, container: &Container, scope: &Scope) {
    if let Some(lifecycle) = &container.lifecycle {
        self::lifecycle(errors, &path.child("lifecycle"), lifecycle, scope);
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
        if let Some(threshold) = asked.success_threshold.filter(|threshold| !ready && *threshold != 1) {
            errors.push(Error::invalid(&path.child("successThreshold"), threshold, "must be 1"));
        }
        if let Some(seconds) = asked.termination_grace_period_seconds.filter(|_| ready) {
            let detail = "must not be set for readinessProbes";
            errors.push(Error::invalid(&path.child("terminationGracePeriodSeconds"), seconds, detail));
        }
    }
}

fn lifecycle(errors: &mut Errors, path: &Path, lifecycle: &Lifecycle, scope: &Scope) {
    for (field, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        if let Some(handler) = handler {
            hook(errors, &path.child(field), handler, scope.grace_period);
        }
    }
    let Some(signal) = lifecycle.stop_signal.as_deref() else { return };
    let path = path.child("stopSignal");
    match scope.os {
        "" => errors.push(Error::forbidden(&path, "may not be set for containers with empty `spec.os.name`")),
        "windows" if !["SIGKILL", "SIGTERM"].contains(&signal) => {
            errors.push(Error::not_supported(&path, signal, &["SIGKILL", "SIGTERM"]));
        }
        "linux" if !is_signal(signal) => {
            let all: Vec<String> = SIGNALS.iter().map(|name| (*name).to_owned()).chain(real_time()).collect();
            let all: Vec<_> = all.iter().map(String::as_str).collect();
            errors.push(Error::not_supported(&path, signal, &all));
        }
        _ => {}
    }
}

const SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

/// The real-time signals: those counted from the first, and those counted from the last.
fn real_time() -> impl Iterator<Item = String> {
    let from_first = (0..16).map(|n| if n == 0 { "SIGRTMIN".to_owned() } else { format!("SIGRTMIN+{n}") });
    let from_last = (0..15).map(|n| if n == 0 { "SIGRTMAX".to_owned() } else { format!("SIGRTMAX-{n}") });
    from_first.chain(from_last)
}

fn is_signal(name: &str) -> bool {
    SIGNALS.contains(&name) || real_time().any(|signal| signal == name)
}

fn probe(errors: &mut Errors, path: &Path, probe: &Probe) {
    let mut union = Union::new(errors, path, EXTRA);
    union.member("exec", probe.exec.as_ref(), exec);
    union.member("httpGet", probe.http_get.as_ref(), http_get);
    union.member("tcpSocket", probe.tcp_socket.as_ref(), |errors, path, action| {
        port(errors, &path.child("port"), &action.port);
    });
    union.member("grpc", probe.grpc.as_ref(), |errors, path, action: &GRPCAction| {
        port_number(errors, &path.child("port"), action.port);
    });
    union.end(MISSING);
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

fn hook(errors: &mut Errors, path: &Path, hook: &LifecycleHandler, grace: Option<i64>) {
    let mut union = Union::new(errors, path, EXTRA);
    union.member("exec", hook.exec.as_ref(), exec);
    union.member("httpGet", hook.http_get.as_ref(), http_get);
    union.member("tcpSocket", hook.tcp_socket.as_ref(), |errors, path, action| {
        port(errors, &path.child("port"), &action.port);
    });
    union.member("sleep", hook.sleep.as_ref(), |errors, path, action: &SleepAction| {
        let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&action.seconds)) else { return };
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(Error::invalid(path, action.seconds, detail));
    });
    union.end(MISSING);
}

fn exec(errors: &mut Errors, path: &Path, exec: &ExecAction) {
    if exec.command.as_ref().is_none_or(Vec::is_empty) {
        errors.push(Error::required(&path.child("command"), ""));
    }
}

fn http_get(errors: &mut Errors, path: &Path, action: &HTTPGetAction) {
    required(errors, &path.child("path"), text(&action.path));
    port(errors, &path.child("port"), &action.port);
    let scheme = text(&action.scheme);
    if !["HTTP", "HTTPS"].contains(&scheme) {
        errors.push(Error::not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in action.http_headers.iter().flatten() {
        named(errors, &path.child("httpHeaders"), &header.name, names::http_header_name(&header.name));
    }
}
