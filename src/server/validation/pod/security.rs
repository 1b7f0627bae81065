//! Security contexts of pods and containers.

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext, Sysctl};

use super::super::{internal, optional_one_of, paths};
use super::{Kept, visit, windows};
use crate::api::field::{Error, Errors, Path};
use crate::api::names;

/// A user or group ID of a container.
fn id(errors: &mut Errors, path: &Path, value: Option<i64>) {
    if let Some(value) = value.filter(|value| !(0..=i64::from(i32::MAX)).contains(value)) {
        errors.push(Error::invalid(path, value, names::inclusive_range_error(0, i32::MAX.into())));
    }
}

/// `path` is the pod's security context.
pub fn pod(errors: &mut Errors, path: &Path, spec: &PodSpec, kept: Kept) {
    let Some(context) = &spec.security_context else { return };
    id(errors, &path.child("fsGroup"), context.fs_group);
    id(errors, &path.child("runAsUser"), context.run_as_user);
    id(errors, &path.child("runAsGroup"), context.run_as_group);
    for (at, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(errors, &path.child("supplementalGroups").index(at), Some(*group));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        // Upstream's objects have this field in the security context.
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(Error::invalid(&path.child("shareProcessNamespace"), true, detail));
    }
    sysctls(errors, &path.child("sysctls"), context.sysctls.as_deref().unwrap_or_default(), spec);
    let policies = ["OnRootMismatch", "Always"];
    optional_one_of(errors, &path.child("fsGroupChangePolicy"), &context.fs_group_change_policy, &policies);
    seccomp(errors, &path.child("seccompProfile"), context.seccomp_profile.as_ref());
    windows::options(errors, &path.child("windowsOptions"), context.windows_options.as_ref());
    app_armor(errors, &path.child("appArmorProfile"), context.app_armor_profile.as_ref());
    let policies = ["Merge", "Strict"];
    optional_one_of(errors, &path.child("supplementalGroupsPolicy"), &context.supplemental_groups_policy, &policies);
    let policies: &[&str] = if kept.mount_option { &["MountOption", "Recursive"] } else { &["Recursive"] };
    optional_one_of(errors, &path.child("seLinuxChangePolicy"), &context.se_linux_change_policy, policies);
}

const OWN_USERS: &str = "when `hostUsers` is false";

/// With its own users, a pod has none of the host's namespaces.
pub fn host_users(errors: &mut Errors, path: &Path, spec: &PodSpec, kept: Kept) {
    if spec.host_users != Some(false) {
        return;
    }
    let network = spec.host_network.filter(|_| !kept.users_on_host_network);
    let shared = [("hostNetwork", network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
    for (field, _) in shared.into_iter().filter(|(_, shared)| *shared == Some(true)) {
        errors.push(Error::forbidden(&path.child(field), OWN_USERS));
    }
    if kept.users_with_devices {
        return;
    }
    // Block devices cannot be mapped to other users.
    for (container, path) in visit::containers(spec, path) {
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            errors.push(Error::forbidden(&path.child("volumeDevices"), OWN_USERS));
        }
    }
}

const SYSCTL: &str = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

fn sysctls(errors: &mut Errors, path: &Path, sysctls: &[Sysctl], spec: &PodSpec) {
    let mut seen = Vec::new();
    for (at, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(at).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if !is_sysctl(name) {
            errors.push(Error::invalid(&path, name, SYSCTL));
        } else if seen.contains(&name) {
            errors.push(Error::duplicate(&path, name));
        }
        seen.push(name);
        let plain = name.replace('/', ".");
        if spec.host_network == Some(true) && plain.starts_with("net.") {
            errors.push(Error::invalid(&path, name, "may not be specified when 'hostNetwork' is true"));
        }
        let ipc = plain.starts_with("fs.mqueue.") || plain.starts_with("kernel.shm") || plain.starts_with("kernel.msg");
        if spec.host_ipc == Some(true) && (ipc || plain == "kernel.sem") {
            errors.push(Error::invalid(&path, name, "may not be specified when 'hostIPC' is true"));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let segment = |part: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = part.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

const TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(errors: &mut Errors, path: &Path, profile: Option<&SeccompProfile>) {
    let Some(profile) = profile else { return };
    match profile.type_.as_str() {
        "" => errors.push(Error::required(&path.child("type"), "type is required when seccompProfile is set")),
        kind if !TYPES.contains(&kind) => errors.push(Error::not_supported(&path.child("type"), kind, TYPES)),
        _ => {}
    }
    let file = path.child("localhostProfile");
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", None) => errors.push(Error::required(&file, "must be set when seccomp type is Localhost")),
        ("Localhost", Some(name)) => paths::local(errors, &file, name),
        (_, None) => {}
        (_, Some(_)) => {
            let detail = "can only be set when seccomp type is Localhost";
            errors.push(Error::invalid_shown(&file, &internal::seccomp(profile), detail));
        }
    }
}

fn app_armor(errors: &mut Errors, path: &Path, profile: Option<&AppArmorProfile>) {
    const MISSING: &str = "must be set when AppArmor type is Localhost";
    const MAX: usize = 4095;
    let Some(profile) = profile else { return };
    let file = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => errors.push(Error::required(&file, MISSING)),
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.push(Error::invalid(&file, name, "must not be padded with whitespace"));
            }
            if name.len() > MAX {
                errors.push(Error::too_long(&file, MAX));
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.push(Error::invalid(&file, name, "can only be set when AppArmor type is Localhost"));
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.push(Error::required(&path.child("type"), "type is required when appArmorProfile is set")),
        (kind, _) => errors.push(Error::not_supported(&path.child("type"), kind, TYPES)),
    }
}

pub fn container(errors: &mut Errors, path: &Path, context: &SecurityContext, host_users: bool) {
    id(errors, &path.child("runAsUser"), context.run_as_user);
    id(errors, &path.child("runAsGroup"), context.run_as_group);
    let mount = path.child("procMount");
    optional_one_of(errors, &mount, &context.proc_mount, &["Default", "Unmasked"]);
    if host_users && context.proc_mount.as_deref() == Some("Unmasked") {
        errors.push(Error::invalid(&mount, "Unmasked", "`hostUsers` must be false to use `Unmasked`"));
    }
    seccomp(errors, &path.child("seccompProfile"), context.seccomp_profile.as_ref());
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(Error::invalid_shown(path, &internal::security_context(context), detail));
        }
        let mut added = context.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        if added.any(|name| name == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(Error::invalid_shown(path, &internal::security_context(context), detail));
        }
    }
    windows::options(errors, &path.child("windowsOptions"), context.windows_options.as_ref());
    app_armor(errors, &path.child("appArmorProfile"), context.app_armor_profile.as_ref());
}
