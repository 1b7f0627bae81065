//! The checks of the baseline standard: known ways out of a container. One function each, in upstream's words. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe, SELinuxOptions};

use super::checks::{Subject, Violation, bad_values, containers, plural, quoted, setters};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Harmless kernel parameters, and the version that allowed them.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

pub(super) fn is_profile(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

pub(super) fn app_armor(subject: &Subject<'_>) -> Option<Violation> {
    let bad = |kind: &str| !is_profile(kind);
    let of_pod = subject.spec.security_context.as_ref().and_then(|security| security.app_armor_profile.as_ref());
    let of_pod = of_pod.map(|profile| profile.type_.as_str()).filter(|kind| bad(kind));
    let found = bad_values(subject, of_pod, |security| {
        security.app_armor_profile.as_ref().map(|profile| profile.type_.as_str()).filter(|kind| bad(kind))
    });
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = subject.annotations.into_iter().flatten();
    let annotations: Vec<String> = annotations
        .filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let (who, mut values) = match found {
        Some((who, values)) => (vec![who], values.into_iter().map(str::to_owned).collect()),
        None => (Vec::new(), Vec::new()),
    };
    let mut who = who;
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
        values.extend(annotations);
    }
    (!who.is_empty()).then(|| Violation {
        reason: plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len()),
        detail: format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(&values)),
    })
}

pub(super) fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    let mut added = BTreeSet::new();
    let mut names = Vec::new();
    for container in subject.containers() {
        let own = container.security.and_then(|security| security.capabilities.as_ref());
        let own = own.and_then(|capabilities| capabilities.add.as_ref()).into_iter().flatten();
        let bad: Vec<&String> = own.filter(|name| !CAPABILITIES.contains(&name.as_str())).collect();
        if !bad.is_empty() {
            names.push(container.name);
            added.extend(bad);
        }
    }
    let detail =
        || format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(added));
    (!names.is_empty()).then(|| Violation { reason: "non-default capabilities", detail: detail() })
}

pub(super) fn host_namespaces(subject: &Subject<'_>) -> Option<Violation> {
    let spec = subject.spec;
    let all =
        [(spec.host_network, "hostNetwork=true"), (spec.host_pid, "hostPID=true"), (spec.host_ipc, "hostIPC=true")];
    let used: Vec<_> = all.into_iter().filter(|(used, _)| *used == Some(true)).map(|(_, name)| name).collect();
    (!used.is_empty()).then(|| Violation { reason: "host namespaces", detail: used.join(", ") })
}

pub(super) fn host_path_volumes(subject: &Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&String> = volumes.map(|volume| &volume.name).collect();
    let detail = || format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
    (!names.is_empty()).then(|| Violation { reason: "hostPath volumes", detail: detail() })
}

pub(super) fn host_ports(subject: &Subject<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let mut names = Vec::new();
    for container in subject.containers() {
        let used: Vec<_> = container.host_ports.iter().filter(|port| **port != 0).map(ToString::to_string).collect();
        if !used.is_empty() {
            names.push(container.name);
            ports.extend(used);
        }
    }
    let uses = plural("uses", "use", names.len());
    let what = plural("hostPort", "hostPorts", ports.len());
    let ports: Vec<_> = ports.into_iter().collect();
    let detail = || format!("{} {uses} {what} {}", containers(&names), ports.join(", "));
    (!names.is_empty()).then(|| Violation { reason: "hostPort", detail: detail() })
}

pub(super) fn host_probes(subject: &Subject<'_>) -> Option<Violation> {
    let mut hosts = BTreeSet::new();
    let mut names = BTreeSet::new();
    for container in subject.containers() {
        let mut own: Vec<&str> = container.probes.into_iter().flatten().flat_map(probe_hosts).collect();
        let handlers = container.lifecycle.into_iter().flat_map(|cycle| [&cycle.post_start, &cycle.pre_stop]);
        own.extend(handlers.flatten().flat_map(handler_hosts));
        if !own.is_empty() {
            names.insert(container.name);
            hosts.extend(own);
        }
    }
    let names: Vec<&str> = names.into_iter().collect();
    let uses = plural("uses", "use", names.len());
    let what = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
    let detail = || format!("{} {uses} {what} {}", containers(&names), quoted(&hosts));
    (!names.is_empty()).then(|| Violation { reason: "probe or lifecycle host", detail: detail() })
}

fn probe_hosts(probe: &Probe) -> impl Iterator<Item = &str> {
    let http = probe.http_get.as_ref().and_then(|get| get.host.as_deref());
    let tcp = probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref());
    http.into_iter().chain(tcp).filter(|host| !host.is_empty())
}

fn handler_hosts(handler: &LifecycleHandler) -> impl Iterator<Item = &str> {
    let http = handler.http_get.as_ref().and_then(|get| get.host.as_deref());
    let tcp = handler.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref());
    http.into_iter().chain(tcp).filter(|host| !host.is_empty())
}

pub(super) fn privileged(subject: &Subject<'_>) -> Option<Violation> {
    let bad = subject.where_bad(|container| container.security.and_then(|own| own.privileged) == Some(true));
    let detail = || format!("{} must not set securityContext.privileged=true", containers(&bad));
    (!bad.is_empty()).then(|| Violation { reason: "privileged", detail: detail() })
}

pub(super) fn proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() && subject.since(35) {
        return None;
    }
    unmasked(subject)
}

/// Whoever sees more of `/proc` than the default.
pub(super) fn unmasked(subject: &Subject<'_>) -> Option<Violation> {
    let bad = |mount: &&str| *mount != "Default";
    let (who, values) = bad_values(subject, None, |security| security.proc_mount.as_deref().filter(bad))?;
    let detail = format!("{who} must not set securityContext.procMount to {}", quoted(values));
    Some(Violation { reason: "procMount", detail })
}

pub(super) fn selinux(subject: &Subject<'_>) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |options: Option<&SELinuxOptions>| -> bool {
        let Some(options) = options else { return false };
        let set = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
        let kind = options.type_.as_deref().unwrap_or_default();
        let known = matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t");
        let good_type = known || (kind == "container_engine_t" && subject.since(31));
        if !good_type {
            types.insert(kind.to_owned());
        }
        user |= set(&options.user);
        role |= set(&options.role);
        !good_type || set(&options.user) || set(&options.role)
    };
    let pod = bad(subject.spec.security_context.as_ref().and_then(|own| own.se_linux_options.as_ref()));
    let all = subject.containers().into_iter();
    let names: Vec<&str> = all
        .filter(|container| bad(container.security.and_then(|own| own.se_linux_options.as_ref())))
        .map(|container| container.name)
        .collect();
    let who = setters(pod, &names)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

pub(super) fn seccomp(subject: &Subject<'_>) -> Option<Violation> {
    if !subject.since(19) {
        return seccomp_annotations(subject);
    }
    let of_pod = subject.spec.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    let of_pod = of_pod.map(|profile| profile.type_.as_str()).filter(|kind| !is_profile(kind));
    let (who, values) = bad_values(subject, of_pod, |security| {
        security.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()).filter(|kind| !is_profile(kind))
    })?;
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", quoted(values));
    Some(Violation { reason: "seccompProfile", detail })
}

/// Before there were fields.
fn seccomp_annotations(subject: &Subject<'_>) -> Option<Violation> {
    let good = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let mut keys: BTreeSet<String> = [SECCOMP_POD.to_owned()].into();
    keys.extend(subject.containers().iter().map(|container| format!("{SECCOMP_CONTAINER}{}", container.name)));
    let found = keys.iter().filter_map(|key| Some((key, subject.annotations?.get(key)?)));
    let bad: Vec<String> =
        found.filter(|(_, value)| !good(value)).map(|(key, value)| format!("{key}={value:?}")).collect();
    let what = plural("annotation", "annotations", bad.len());
    (!bad.is_empty())
        .then(|| Violation { reason: "seccompProfile", detail: format!("forbidden {what} {}", bad.join(", ")) })
}

pub(super) fn sysctls(subject: &Subject<'_>) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(known, since)| *known == name && subject.since(*since));
    let given = subject.spec.security_context.as_ref().and_then(|security| security.sysctls.as_ref());
    let bad: Vec<&str> =
        given.into_iter().flatten().map(|sysctl| sysctl.name.as_str()).filter(|name| !allowed(name)).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}

pub(super) fn windows_host_process(subject: &Subject<'_>) -> Option<Violation> {
    let of_pod = subject.spec.security_context.as_ref().and_then(|security| security.windows_options.as_ref());
    let pod = of_pod.is_some_and(|options| options.host_process == Some(true));
    let names = subject.where_bad(|container| {
        let options = container.security.and_then(|security| security.windows_options.as_ref());
        options.is_some_and(|options| options.host_process == Some(true))
    });
    let who = setters(pod, &names)?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation { reason: "hostProcess", detail })
}
