//! What the checks share: which containers a pod has, how violations are worded, and the order of the checks. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Lifecycle, PodSpec, Probe, SecurityContext};

use super::policy::{Level, Standard, Version};
use super::{baseline, restricted};

/// What the checks look at.
pub(super) struct Subject<'a> {
    pub annotations: Option<&'a BTreeMap<String, String>>,
    pub spec: &'a PodSpec,
    pub version: Version,
}

/// One container of whichever sort.
pub(super) struct Container<'a> {
    pub name: &'a str,
    pub security: Option<&'a SecurityContext>,
    pub host_ports: Vec<i32>,
    pub probes: [Option<&'a Probe>; 3],
    pub lifecycle: Option<&'a Lifecycle>,
}

/// A check that was not passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub reason: &'static str,
    pub detail: String,
}

type Check = fn(&Subject<'_>) -> Option<Violation>;

impl<'a> Subject<'a> {
    /// Every container, in the order in which violations name them.
    pub fn containers(&self) -> Vec<Container<'a>> {
        macro_rules! of {
            ($container:expr) => {
                Container {
                    name: &$container.name,
                    security: $container.security_context.as_ref(),
                    host_ports: $container.ports.iter().flatten().filter_map(|port| port.host_port).collect(),
                    probes: [
                        $container.liveness_probe.as_ref(),
                        $container.readiness_probe.as_ref(),
                        $container.startup_probe.as_ref(),
                    ],
                    lifecycle: $container.lifecycle.as_ref(),
                }
            };
        }
        let spec = self.spec;
        let init = spec.init_containers.iter().flatten().map(|container| of!(container));
        let main = spec.containers.iter().map(|container| of!(container));
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| of!(container));
        init.chain(main).chain(ephemeral).collect()
    }

    /// The names of the containers of which `bad` holds.
    pub fn where_bad(&self, bad: impl Fn(&Container<'_>) -> bool) -> Vec<&'a str> {
        self.containers().into_iter().filter(|container| bad(container)).map(|container| container.name).collect()
    }

    pub fn since(&self, minor: u32) -> bool {
        self.version >= Version::Minor(minor)
    }

    pub fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Root in a user namespace of its own is nobody on the node.
    pub fn has_own_users(&self) -> bool {
        self.spec.host_users == Some(false)
    }
}

pub(super) fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`.
pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect();
    items.join(", ")
}

/// `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `pod and container "a"`: who sets something bad. `None` where nobody does.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let own = (!names.is_empty()).then(|| containers(names));
    let parts: Vec<String> = pod.then(|| "pod".to_owned()).into_iter().chain(own).collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// The bad values that somebody sets in the pod or in its containers, and who does.
pub(super) fn bad_values<'a>(
    subject: &Subject<'a>,
    pod: Option<&'a str>,
    of: impl Fn(&'a SecurityContext) -> Option<&'a str>,
) -> Option<(String, BTreeSet<&'a str>)> {
    let mut values: BTreeSet<&str> = pod.into_iter().collect();
    let mut names = Vec::new();
    for container in subject.containers() {
        if let Some(value) = container.security.and_then(&of) {
            names.push(container.name);
            values.insert(value);
        }
    }
    setters(pod.is_some(), &names).map(|who| (who, values))
}

/// Everything a pod violates of a standard: first of baseline, then of restricted, each in the order of
/// the checks' names.
pub(super) fn violations(standard: Standard, subject: &Subject<'_>) -> Vec<Violation> {
    if standard.level == Level::Privileged {
        return Vec::new();
    }
    let strict = standard.level == Level::Restricted;
    let baseline: [(Check, bool); 12] = [
        (baseline::app_armor, true),
        // What restricted says more strictly is not said twice.
        (baseline::capabilities, !(strict && subject.since(22))),
        (baseline::host_namespaces, true),
        (baseline::host_path_volumes, !strict),
        (baseline::host_ports, true),
        (baseline::host_probes, subject.since(34)),
        (baseline::privileged, true),
        (baseline::proc_mount, !(strict && subject.since(35))),
        (baseline::selinux, true),
        (baseline::seccomp, !(strict && subject.since(19))),
        (baseline::sysctls, true),
        (baseline::windows_host_process, true),
    ];
    let restricted: [(Check, bool); 7] = [
        (restricted::privilege_escalation, subject.since(8)),
        (restricted::capabilities, subject.since(22)),
        (restricted::proc_mount, subject.since(35)),
        (restricted::volumes, true),
        (restricted::run_as_non_root, true),
        (restricted::run_as_user, subject.since(23)),
        (restricted::seccomp, subject.since(19)),
    ];
    let restricted = restricted.into_iter().filter(|_| strict);
    let checks = baseline.into_iter().chain(restricted).filter(|(_, applies)| *applies);
    checks.filter_map(|(check, _)| check(subject)).collect()
}
