//! The checks of the restricted standard: what a hardened pod says of itself. One function each, in upstream's words. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{self, is_profile};
use super::checks::{Subject, Violation, containers, plural, quoted, setters};

/// Volumes that hold only what the cluster gives.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

pub(super) fn privilege_escalation(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_windows() && subject.since(25) {
        return None;
    }
    let bad =
        subject.where_bad(|container| container.security.and_then(|own| own.allow_privilege_escalation) != Some(false));
    let detail = || format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    (!bad.is_empty()).then(|| Violation { reason: "allowPrivilegeEscalation != false", detail: detail() })
}

pub(super) fn capabilities(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_windows() && subject.since(25) {
        return None;
    }
    let (mut keeping, mut adding, mut added) = (Vec::new(), Vec::new(), BTreeSet::new());
    for container in subject.containers() {
        let own = container.security.and_then(|security| security.capabilities.as_ref());
        let dropped = own.and_then(|own| own.drop.as_ref());
        if !dropped.is_some_and(|names| names.iter().any(|name| name == "ALL")) {
            keeping.push(container.name);
        }
        let given = own.and_then(|own| own.add.as_ref()).into_iter().flatten();
        let bad: Vec<&String> = given.filter(|name| *name != "NET_BIND_SERVICE").collect();
        if !bad.is_empty() {
            adding.push(container.name);
            added.extend(bad);
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let who = containers(&adding);
        details.push(format!("{who} must not include {} in securityContext.capabilities.add", quoted(added)));
    }
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

/// Users of its own, which are enough for baseline, change nothing here.
pub(super) fn proc_mount(subject: &Subject<'_>) -> Option<Violation> {
    baseline::unmasked(subject)
}

pub(super) fn volumes(subject: &Subject<'_>) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in subject.spec.volumes.iter().flatten() {
        // The source is the one field beside the name.
        let fields = match serde_json::to_value(volume) {
            Ok(Value::Object(fields)) => fields,
            _ => continue,
        };
        let kind = fields.keys().find(|key| *key != "name").map_or("unknown", String::as_str);
        if !VOLUMES.contains(&kind) {
            names.push(volume.name.as_str());
            kinds.insert(kind.to_owned());
        }
    }
    let (volumes, uses) = (plural("volume", "volumes", names.len()), plural("uses", "use", names.len()));
    let types = plural("restricted volume type", "restricted volume types", kinds.len());
    let detail = || format!("{volumes} {} {uses} {types} {}", quoted(&names), quoted(&kinds));
    (!names.is_empty()).then(|| Violation { reason: "restricted volume types", detail: detail() })
}

pub(super) fn run_as_non_root(subject: &Subject<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if subject.has_own_users() && subject.since(35) {
        return None;
    }
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.run_as_non_root);
    let own = |container: &super::checks::Container<'_>| container.security.and_then(|own| own.run_as_non_root);
    let explicit = subject.where_bad(|container| own(container) == Some(false));
    if let Some(who) = setters(pod == Some(false), &explicit) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation { reason: REASON, detail });
    }
    let implicit = subject.where_bad(|container| own(container).is_none() && pod != Some(true));
    let detail = || format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&implicit));
    (!implicit.is_empty()).then(|| Violation { reason: REASON, detail: detail() })
}

pub(super) fn run_as_user(subject: &Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() && subject.since(35) {
        return None;
    }
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.run_as_user) == Some(0);
    let names = subject.where_bad(|container| container.security.and_then(|own| own.run_as_user) == Some(0));
    let who = setters(pod, &names)?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{who} must not set runAsUser=0") })
}

pub(super) fn seccomp(subject: &Subject<'_>) -> Option<Violation> {
    if subject.is_windows() && subject.since(25) {
        return None;
    }
    if let Some(explicit) = baseline::seccomp(subject) {
        return Some(explicit);
    }
    let pod = subject.spec.security_context.as_ref().and_then(|security| security.seccomp_profile.as_ref());
    if pod.is_some_and(|profile| is_profile(&profile.type_)) {
        return None;
    }
    let bad = subject.where_bad(|container| container.security.and_then(|own| own.seccomp_profile.as_ref()).is_none());
    let detail = || {
        let who = containers(&bad);
        format!("pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"")
    };
    (!bad.is_empty()).then(|| Violation { reason: "seccompProfile", detail: detail() })
}
